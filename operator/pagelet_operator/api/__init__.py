"""The wire format of a ModelDeployment: schema, defaults, validation, translation to `core`.

One set of pydantic models is the source of the CRD, its reference page and the validation on
one machine. Nothing here talks to a cluster.
"""
