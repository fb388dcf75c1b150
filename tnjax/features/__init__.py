"""Maps from a column of a table to features: functions of its values, fitted to training data."""

from ._base import FeatureMap as FeatureMap
from ._base import Fitted as Fitted
from ._categorical import Categorical as Categorical
from ._categorical import FittedCategorical as FittedCategorical
from ._codes import Bins as Bins
from ._codes import Codebook as Codebook
from ._codes import Labels as Labels
from ._columns import Columns as Columns
from ._local import FittedRadial as FittedRadial
from ._local import FittedSpline as FittedSpline
from ._local import Radial as Radial
from ._local import Spline as Spline
from ._saved import from_json as from_json
from ._saved import to_json as to_json
from ._smooth import FittedFourier as FittedFourier
from ._smooth import FittedPolynomial as FittedPolynomial
from ._smooth import Fourier as Fourier
from ._smooth import Polynomial as Polynomial
