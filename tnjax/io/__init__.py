"""Files in and out."""

from ._coordinates import Coordinates as Coordinates
from ._coordinates import holds_coordinates as holds_coordinates
from ._coordinates import read_coordinates as read_coordinates
from ._files import load as load
from ._files import load_metadata as load_metadata
from ._files import save as save
from ._interchange import from_einsum as from_einsum
from ._interchange import to_einsum as to_einsum
from ._labels import Mode as Mode
from ._labels import read_labels as read_labels
from ._labels import write_labels as write_labels
from ._masks import random_mask as random_mask
from ._masks import read_mask as read_mask
from ._quimb import from_quimb as from_quimb
from ._quimb import to_quimb as to_quimb
from ._readers import TensorData as TensorData
from ._readers import read_tensor as read_tensor
from ._readers import write_image as write_image
from ._requests import read_requests as read_requests
from ._requests import write_predictions as write_predictions
from ._reshape import Reshape as Reshape
from ._reshape import digits_of as digits_of
from ._reshape import plan_reshape as plan_reshape
from ._tensorly import from_tensorly as from_tensorly
from ._tensorly import to_tensorly as to_tensorly
from ._video import write_video as write_video
