"""The FunctionGraph API as one table of operations (`operations`) behind one pipeline (`app`)."""
