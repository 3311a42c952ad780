"""What a session does that takes time.

Each process is an object with its ticket, its result and its rule for being replaced.

===========  =======================================  =====================================================
process      its result                               what replaces it
===========  =======================================  =====================================================
inverting    an ``OpenedPicture``                     another picture, once that is there
rendering    a ``Frame``: G(z_e), or G'(z_e)          newer edits: only the newest are rendered
fitting      G' of the photo without edits            another picture; else it goes on where it was
blending     a ``Blend``: G'(z_e)                     a blend of other edits, once that is queued
references   an ``OpenedReference``, or activations   nothing: whoever asks waits for it
===========  =======================================  =====================================================

All of them work on the worker's thread. A process knows neither the session nor the others: its owner hands
it what it needs, and functions to be called with what came of it.
"""
