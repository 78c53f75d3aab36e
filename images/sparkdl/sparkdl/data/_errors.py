"""What is wrong with data, said before it is trained on."""


class DataError(ValueError):
    """The data cannot be trained on as they are; the message says why and what to do."""
