r"""The exponential integral E1, with its derivative -exp(-z) / z, for every library that a fit may run in.

scipy computes it (`scipy.special.exp1`); what torch and PyMC need besides is the derivative, which is elementary.
"""

from __future__ import annotations

from functools import cache
from typing import Any

import numpy as np
from scipy import special

from statml.errors import MissingExtraError


@cache
def torch_exp1() -> Any:
    """E1 of float64 tensors, differentiable once.

    Examples
    --------
    >>> import torch
    >>> z = torch.tensor(1.0, dtype=torch.float64, requires_grad=True)
    >>> torch_exp1()(z).backward()
    >>> round(z.grad.item(), 6), round(-float(np.exp(-1)), 6)
    (-0.367879, -0.367879)
    """
    try:
        import torch
    except ImportError as error:
        raise MissingExtraError("method='nuts' needs torch: pip install 'statml[neural]'") from error

    class Exp1(torch.autograd.Function):
        @staticmethod
        def forward(context: Any, z: Any) -> Any:
            context.save_for_backward(z)
            values = special.exp1(z.detach().cpu().numpy())
            return torch.as_tensor(values, dtype=z.dtype, device=z.device)

        @staticmethod
        def backward(context: Any, gradient: Any) -> Any:  # type: ignore[override]
            (z,) = context.saved_tensors
            return -gradient * torch.exp(-z) / z

    return Exp1.apply


@cache
def pytensor_exp1() -> Any:
    """E1 as an operation of PyTensor, differentiable as often as one likes."""
    try:
        import pytensor.tensor as pt
        from pytensor.graph.basic import Apply
        from pytensor.graph.op import Op
    except ImportError as error:
        raise MissingExtraError("method='pymc' needs pymc: pip install 'statml[bayes]'") from error

    class Exp1(Op):
        __props__ = ()

        def make_node(self, *inputs: Any) -> Any:
            (z,) = map(pt.as_tensor_variable, inputs)
            return Apply(self, [z], [z.type()])

        def perform(self, node: Any, inputs: Any, outputs: Any) -> None:
            outputs[0][0] = np.asarray(special.exp1(inputs[0]), dtype=node.outputs[0].dtype)

        def grad(self, inputs: Any, gradients: Any) -> list[Any]:
            return [-gradients[0] * pt.exp(-inputs[0]) / inputs[0]]

    return Exp1()
