"""What a plan cannot be made of."""


class PlanError(Exception):
    """An input cannot be used; the message names the field or flag and what is accepted."""
