"""Files in and out."""

from ._files import load as load
from ._files import load_metadata as load_metadata
from ._files import save as save
from ._interchange import from_einsum as from_einsum
from ._interchange import to_einsum as to_einsum
from ._quimb import from_quimb as from_quimb
from ._quimb import to_quimb as to_quimb
from ._readers import TensorData as TensorData
from ._readers import read_tensor as read_tensor
from ._readers import write_image as write_image
from ._reshape import Reshape as Reshape
from ._reshape import plan_reshape as plan_reshape
from ._tensorly import from_tensorly as from_tensorly
from ._tensorly import to_tensorly as to_tensorly
