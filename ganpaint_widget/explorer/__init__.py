"""The dissection explorer without its widget: what the units of a layer mean."""
