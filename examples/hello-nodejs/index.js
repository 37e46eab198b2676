// Greets whoever the event names.
exports.handler = async (event, context) => {
  const name = event.name || "world";
  console.log(`greeting ${name}`);
  return { message: `Hello, ${name}!` };
};
