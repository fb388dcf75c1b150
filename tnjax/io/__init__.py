"""Files in and out."""

from ._files import load as load
from ._files import load_metadata as load_metadata
from ._files import save as save
from ._readers import TensorData as TensorData
from ._readers import read_tensor as read_tensor
from ._readers import write_image as write_image
from ._reshape import Reshape as Reshape
from ._reshape import plan_reshape as plan_reshape
