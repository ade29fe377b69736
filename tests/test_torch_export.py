"""torch.export, ONNX, symbolic tracing by torch.fx and torch.jit.trace of models with drops."""

import copy
import io
import pickle

import pytest
import torch

import dropkit.torch
from dropkit.torch import DropBlock2d, Dropout, drop_block2d, dropout
from dropkit.torch.compat import miguelvr, mmdet, timm, torchvision

pytestmark = pytest.mark.filterwarnings("ignore:.*torch.jit:FutureWarning", "ignore:.*torch.jit:DeprecationWarning")


def a_model(**keywords):
    return torch.nn.Sequential(torch.nn.Conv2d(4, 4, 1), DropBlock2d(0.4, 2, **keywords), torch.nn.ReLU(), Dropout(0.5))


def an_input(samples=3):
    return torch.randn(samples, 4, 6, 6, generator=torch.Generator().manual_seed(3))


def of_seed(function, *arguments):
    torch.manual_seed(7)
    return function(*arguments)


def operators_of(program):
    return [node.target.name() for node in program.graph.nodes if isinstance(node.target, torch._ops.OpOverload)]


@pytest.mark.parametrize(
    "strict, dynamic, recompute", [(False, False, False), (False, True, False), (True, True, False), (True, True, True)]
)
def test_exported_programs_draw_eagers_masks(strict, dynamic, recompute):
    model = a_model(recompute=recompute)
    shapes = {"input": {0: torch.export.Dim("samples")}} if dynamic else None
    program = torch.export.export(model, (an_input(),), strict=strict, dynamic_shapes=shapes)
    operator = "dropkit::drop_recompute" if recompute else "dropkit::drop"
    assert operator in operators_of(program) and "dropkit::drop" in operators_of(program)
    file = io.BytesIO()
    torch.export.save(program, file)
    file.seek(0)
    loaded = torch.export.load(file)
    for samples in (3, 5) if dynamic else (3,):
        x = an_input(samples)
        for each in (program, loaded, program.run_decompositions()):
            y = of_seed(each.module(), x)
            assert torch.equal(y, of_seed(model, x)) and not torch.equal(y, of_seed(model.eval(), x))
            model.train()


def test_the_graph_holds_the_full_line():
    program = torch.export.export(DropBlock2d(0.4, 2), (an_input(),))
    (call,) = (node for node in program.graph.nodes if node.target is torch.ops.dropkit.drop.default)
    assert call.args[1] == DropBlock2d(0.4, 2).spec and "draw=" in call.args[1]


def test_an_eval_model_has_no_trace_of_the_layer():
    model = a_model().eval()
    assert not [name for name in operators_of(torch.export.export(model, (an_input(),))) if "dropkit" in name]
    exported = torch.onnx.export(model, (an_input(),), dynamo=True, verbose=False)
    assert [node.op_type for node in exported.model.graph] == ["Conv", "Relu"]
    assert "dropkit" not in "".join(node.op_type + node.domain for node in exported.model.graph)


def functions(x):
    return dropout(drop_block2d(x, 0.4, 2, rate="calibrated"), 0.3) + dropkit.torch.drop(x, "drop_path", 0.2)


def with_mask(x):
    y, keep = dropout(x, 0.3, return_mask=True)
    return torch.where(keep, y, -1.0)


@pytest.mark.parametrize("what, leaves", [(functions, 3), (with_mask, 1)])
def test_symbolic_tracing_sees_one_leaf_a_function(what, leaves):
    traced = torch.fx.symbolic_trace(what)
    ours = [node for node in traced.graph.nodes if "dropkit" in getattr(node.target, "__module__", "")]
    assert len(ours) == leaves
    for graph in (traced, copy.deepcopy(traced), pickle.loads(pickle.dumps(traced))):
        graph.recompile()
        assert "run" in graph.code and repr(graph) and str(graph.graph)
        assert torch.equal(of_seed(graph, an_input()), of_seed(what, an_input()))


LAYERS = [
    lambda: DropBlock2d(0.3, 3),
    lambda: Dropout(0.3),
    lambda: dropkit.torch.DropConnectConv2d(4, 4, 1, p=0.5),
    lambda: torchvision.DropBlock2d(0.3, 3),
    lambda: torchvision.StochasticDepth(0.3, "row"),
    lambda: timm.DropPath(0.3),
    lambda: miguelvr.DropBlock2D(0.3, 3),
    lambda: mmdet.DropBlock(0.3, 3, warmup_iters=0),
]


@pytest.mark.parametrize("active", [True, False])
def test_a_traced_layer_follows_train_eval_and_p_as_torchs_does(active):
    model = torch.nn.Sequential(torch.nn.Conv2d(4, 4, 1), *(layer() for layer in LAYERS)).train(active)
    traced = torch.fx.symbolic_trace(model)
    assert [node.target for node in traced.graph.nodes if node.op == "call_module"] == list("012345678")
    x = an_input()
    for graph in (traced, copy.deepcopy(traced), pickle.loads(pickle.dumps(traced))):
        assert torch.equal(of_seed(graph.train(), x), of_seed(model.train(), x))
        assert torch.equal(graph.eval()(x), model.eval()(x))
        for layer in graph.modules():
            if isinstance(layer, dropkit.torch.Layer):
                layer.p = 0.0
        assert torch.equal(graph.train()(x), model.eval()(x))
        for layer, p in zip(graph.children(), (None, 0.3, 0.3, 0.5, 0.3, 0.3, 0.3, 0.3, 0.3)):
            if p:
                layer.p = p


def test_jit_trace_keeps_masks_and_gradients():
    model, x = a_model(), an_input()
    traced = torch.jit.trace(model, x, check_trace=False)
    assert torch.equal(of_seed(traced, x), of_seed(model, x))
    assert not torch.equal(traced(x), traced(x))
    leaf = x.clone().requires_grad_()
    of_seed(traced, leaf).sum().backward()
    expected = x.clone().requires_grad_()
    of_seed(model, expected).sum().backward()
    assert torch.allclose(leaf.grad, expected.grad) and leaf.grad.count_nonzero() > 0
    file = io.BytesIO()
    torch.jit.save(torch.jit.trace(model[1], x, check_trace=False), file)
    file.seek(0)
    loaded, leaf = torch.jit.load(file), x.clone().requires_grad_()
    y = of_seed(loaded, leaf)
    assert torch.equal(y, of_seed(model[1], x))
    assert torch.equal(torch.autograd.grad(y.sum(), leaf)[0] != 0, y != 0)
    assert "dropkit::" not in str(torch.jit.trace(model.eval(), x).inlined_graph)
