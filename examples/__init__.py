"""The examples: a dump, scripts that show the commands on it, and the recipe of the dump."""
