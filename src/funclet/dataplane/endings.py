"""How a request can end without an answer although its function is not at fault."""


class NotStarted(Exception):
    """The instance ended before the runtime had begun with this request: it can be run elsewhere."""


class EndedWithAnother(Exception):
    """The instance was ended for another request that was cancelled without force; nothing is known of this one."""
