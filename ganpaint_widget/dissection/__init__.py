"""Measurements of what a layer's units detect and cause, after Network and GAN Dissection."""

from __future__ import annotations

from ..models.units import MINIMUM_IOU as MINIMUM_IOU
from ..models.units import MINIMUM_IQR as MINIMUM_IQR
from ..models.units import Dissection as Dissection
from .artifacts import ArtifactCandidate as ArtifactCandidate
from .artifacts import artifact_candidates as artifact_candidates
from .baselines import PositionBaseline as PositionBaseline
from .baselines import position_baseline as position_baseline
from .baselines import random_rotation as random_rotation
from .causality import CausalCurve as CausalCurve
from .causality import causal_curve as causal_curve
from .causality import causal_effect as causal_effect
from .causality import unit_effects as unit_effects
from .discovery import discover as discover
from .discovery import exemplar_crops as exemplar_crops
from .discovery import remeasure as remeasure
from .exemplars import find_exemplars as find_exemplars
from .measure import POOL as POOL
from .measure import THRESHOLDS as THRESHOLDS
from .measure import dissect as dissect
from .rearranging import hide as hide
from .rearranging import merge as merge
from .rearranging import rename as rename
from .rearranging import show as show
from .rearranging import split as split
