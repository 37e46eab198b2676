"""Wire names and shapes of the API, to and from the model. One module per resource group; `codec` is shared.

Each function of a module serves one row of `funclet.api.operations`: it reads a
`Call`, asks a service, and returns a `Response`.
"""
