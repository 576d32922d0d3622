"""Other front ends' ways to speak to the API. None is imported unless PLUGVISOR_DIALECT names it."""
