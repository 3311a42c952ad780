"""The slow work of a session.

Each process is an object with its ticket, its result and its rule for being replaced.

===========  =======================================  =====================================================
process      its result                               its replacement
===========  =======================================  =====================================================
inverting    an ``OpenedPicture``                     another picture, once that is there
rendering    a ``Frame``: G(z_e), or G'(z_e)          newer edits: only the newest are rendered
fitting      G' of the photo without edits            another picture; else it goes on where it was
blending     a ``Blend``: G'(z_e)                     a blend of other edits, once that is queued
references   an ``OpenedReference``, or activations   nothing: the caller waits for it
===========  =======================================  =====================================================

All of them work on the worker's thread. A process knows neither the session nor the others. Its owner passes
its inputs, and functions to call with its results.
"""
