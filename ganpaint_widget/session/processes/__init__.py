"""The slow work of a session.

Each process is an object with its ticket, its result and its rule for being replaced.

===========  =======================================  =====================================================
process      its result                               what replaces it
===========  =======================================  =====================================================
inverting    an ``OpenedPicture``                     another picture, once it is open
rendering    a ``Frame``: G(z_e), or G'(z_e)          newer edits: only the newest are rendered
fitting      G' of the photo without edits            another picture; otherwise it resumes
blending     a ``Blend``: G'(z_e)                     a blend of other edits, once it is queued
references   an ``OpenedReference``, or activations   nothing, since the caller waits for it
===========  =======================================  =====================================================

All of them work on the worker's thread. A process knows neither the session nor the others. Its owner passes
its inputs, and functions to call with its results.
"""
