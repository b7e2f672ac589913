import numpy as np
import pytest
import torch

from bbo_bench.domains import Box, Sequences
from bbo_bench.seeding import generator

BOX = Box(torch.tensor([-1.0, 0.0, 10.0]), torch.tensor([1.0, 0.5, 30.0]))


def test_samples_are_uniform():
    x = BOX.sample(100_000, generator(0, "domains"))
    assert BOX.check(x) is x
    u = BOX.normalize(x)
    assert torch.allclose(u.mean(0), torch.full((3,), 1 / 2), atol=5e-3)
    assert torch.allclose(u.var(0), torch.full((3,), 1 / 12), atol=1e-3)
    assert torch.equal(BOX.sample(5, generator(1)), BOX.sample(5, generator(1)))


def test_normalize_and_back():
    x = BOX.sample(100, generator(0))
    assert torch.allclose(BOX.unnormalize(BOX.normalize(x)), x)
    assert BOX.normalize(torch.stack([BOX.lower, BOX.upper])).tolist() == [[0] * 3, [1] * 3]
    assert BOX.unnormalize(torch.tensor([[-1.0, 0.5, 2.0]])).tolist() == [[-1, 0.25, 30]]


def test_clamp_is_the_nearest_point():
    assert BOX.clamp(torch.tensor([[3.0, 0.25, 9.0]])).tolist() == [[1, 0.25, 10]]


def test_rounding_at_the_bounds_stays_inside():
    lower = torch.full((64,), 0.1) + torch.rand(64, generator=generator(0))
    box = Box(lower, lower * 1.0000002)
    box.check(box.unnormalize(torch.ones(1, 64)))
    box.check(box.sample(1000, generator(1)))


@pytest.mark.parametrize(
    ("x", "message"),
    [
        ([0.0, 0.0, 10.0], r"designs must be a tensor, got list; torch.as_tensor makes one of numbers"),
        (np.zeros((2, 3), np.float32), r"must be a tensor, got ndarray; torch.as_tensor makes one of numbers"),
        (torch.zeros(2, 3, dtype=torch.long), r"floating-point tensor, got torch.int64; x.float\(\) makes one"),
        (torch.zeros(3), r"must be `n x 3`, got \(3,\); x\[None\] is a batch of one design"),
        (torch.tensor(0.0), r"must be `n x 3`, got \(\)$"),
        (torch.zeros(2, 4), r"must be `n x 3`, got \(2, 4\)"),
        (torch.zeros(1, 2, 3), r"must be `n x 3`, got \(1, 2, 3\)"),
        (torch.tensor([[0.0, torch.nan, 20.0]]), "must be finite, got 1 entries"),
        (torch.tensor([[-torch.inf, torch.inf, 20.0]]), "must be finite, got 2 entries"),
        (torch.tensor([[0.0, 0.1, 20.0], [0.0, 0.75, 20.0]]), r"design 1 has 0.75 at \[1\], where \[0, 0.5\]"),
    ],
)
def test_check_says_expected_and_got(x, message):
    with pytest.raises(ValueError, match=message):
        BOX.check(x)


def test_bounds_must_make_a_box():
    for lower, upper in [(torch.zeros(2), torch.ones(3)), (torch.zeros(2), torch.tensor([1.0, 0.0]))]:
        with pytest.raises(ValueError, match="every lower bound must be below"):
            Box(lower, upper)


DNA = Sequences(4, "ACGT")


def test_sequences_are_drawn_uniformly():
    x = DNA.sample(100_000, generator(0, "domains"))
    assert DNA.check(x) is x
    shares = torch.nn.functional.one_hot(x, DNA.size).double().mean(0)
    torch.testing.assert_close(shares, torch.full((4, 4), 0.25, dtype=torch.double), atol=5e-3, rtol=0)
    assert torch.equal(DNA.sample(5, generator(1)), DNA.sample(5, generator(1)))


def test_sequences_are_read_and_written():
    text = ["ACGT", "TTTT"]
    assert DNA.parse(text).tolist() == [[0, 1, 2, 3], [3, 3, 3, 3]]
    assert DNA.text(DNA.parse(text)) == text
    selfies = Sequences(2, ["[C]", "[=O]"])
    assert selfies.text(torch.tensor([[0, 1]])) == ["[C][=O]"]
    assert selfies.parse(["[=O][C]"]).tolist() == [[1, 0]]
    with pytest.raises(ValueError, match=r"tokens must be of \[C\]\[=O\], got '\['"):
        selfies.parse(["[C][N]"])


def test_no_designs_are_designs():
    for domain, none in ((BOX, torch.zeros(0, 3)), (DNA, DNA.parse([]))):
        assert domain.check(none) is none
        assert domain.sample(0, generator(0)).shape == none.shape
    assert DNA.text(DNA.parse([])) == []


def test_one_string_is_no_list_of_them():
    with pytest.raises(ValueError, match=r"expected a list of strings, got the string 'ACGT'; write \['ACGT'\]"):
        DNA.parse("ACGT")


@pytest.mark.parametrize(
    ("x", "message"),
    [
        (torch.zeros(3, 4), "must be a tensor of 64-bit integers, got torch.float32"),
        (torch.zeros(3, 4, dtype=torch.int32), r"64-bit integers, got torch.int32; x.long\(\) makes one"),
        (np.zeros((3, 4), np.int64), "must be a tensor, got ndarray"),
        ([[0, 1, 2, 3]], "must be a tensor, got list"),
        (torch.zeros(3, 5, dtype=torch.long), r"designs must be `n x 4`, got \(3, 5\)"),
        (torch.tensor([[0, 1, 2, 3], [0, 1, 4, 3]]), "from 0 to 3, but sequence 1 has 4 at position 2"),
        (torch.tensor([[-1, 1, 2, 3]]), "sequence 0 has -1 at position 0"),
    ],
)
def test_malformed_sequences_are_named(x, message):
    with pytest.raises(ValueError, match=message):
        DNA.check(x)


@pytest.mark.parametrize(("text", "message"), [("ACG", "must have 4 tokens, got 3"), ("ACGU", "ACGT, got .U.")])
def test_malformed_strings_are_named(text, message):
    with pytest.raises(ValueError, match=message):
        DNA.parse([text])


@pytest.mark.parametrize("arguments", [(0, "AB"), (3, "A"), (3, "AA")])
def test_sequences_need_a_length_and_tokens(arguments):
    with pytest.raises(ValueError, match="two distinct tokens"):
        Sequences(*arguments)
