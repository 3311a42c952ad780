"""The editing session: the whole product, without its widget."""

from __future__ import annotations

from .events import Array as Array
from .events import Blended as Blended
from .events import Changed as Changed
from .events import Event as Event
from .events import Failed as Failed
from .events import Finished as Finished
from .events import Noticed as Noticed
from .events import Opened as Opened
from .events import PaletteChanged as PaletteChanged
from .events import Progress as Progress
from .events import Rendered as Rendered
from .making import KEEP as KEEP
from .palette import Concept as Concept
from .processes.blending import Blend as Blend
from .reading import Referred as Referred
from .reading import View as View
from .session import EditingSession as EditingSession
