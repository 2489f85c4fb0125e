"""What goes wrong in the lab."""


class LabError(Exception):
    """The lab could not be set up or a capture not be made; the text says why and what to do."""
