"""Attention and a layer of BERT: what must change nothing, PyTorch's layer on random shapes, and bad input."""
import numpy as np, pytest, torch
from hypothesis import given, settings, strategies as st
from recinc_nb.attention import attention, attention_grad, attention_weights, bert_layer, gelu, gelu_grad, layer_norm, layer_norm_grad

few = settings(max_examples=30)
seeds = st.integers(0, 2**32-1)


@few
@given(seeds, st.integers(1, 5), st.integers(1, 4), st.integers(1, 4), st.floats(0, 1e6))
def test_what_is_masked_is_not_there(seed, T, pads, c, size):
    rng = np.random.default_rng(seed)
    query,key,value,g = rng.normal(0, 3, (4, T, c))
    key_,value_ = (np.concatenate([o, rng.normal(0, size, (pads, c))]) for o in (key, value))
    mask = np.arange(T+pads)<T
    np.testing.assert_allclose(attention(query, key_, value_, mask), attention(query, key, value), rtol=1e-10, atol=1e-12)
    assert not attention_weights(query, key_, mask)[:, T:].any()
    for got,want in zip(attention_grad(query, key_, value_, g, mask), attention_grad(query, key, value, g)):
        np.testing.assert_allclose(got[:T], want, rtol=1e-9, atol=1e-10)
        assert not got[T:].any()


@few
@given(seeds, st.integers(1, 6), st.integers(1, 5), st.floats(0, 100))
def test_weights_are_a_mean_and_rows_a_bag(seed, T, c, size):
    rng = np.random.default_rng(seed)
    query,key,value = rng.normal(0, size, (3, T, c))
    p,order = attention_weights(query, key),rng.permutation(T)
    assert (p>=0).all()
    np.testing.assert_allclose(p.sum(1), 1, rtol=1e-12)
    out = attention(query, key, value)
    np.testing.assert_allclose(attention(query[order], key[order], value[order]), out[order], rtol=1e-9, atol=1e-9*(1+size))
    slack = 1e-10*(1+size)
    assert (out <= value.max(0)+slack).all() and (out >= value.min(0)-slack).all()


@few
@given(seeds, st.integers(1, 3), st.integers(1, 5), st.sampled_from([(1, 4), (2, 4), (3, 6), (4, 4)]), st.integers(1, 9), st.booleans())
def test_a_layer_is_that_of_transformers(seed, bs, T, heads_width, wide, gap):
    from transformers import BertConfig
    from transformers.models.bert.modeling_bert import BertLayer
    n_heads,d = heads_width
    config = BertConfig(hidden_size=d, num_attention_heads=n_heads, intermediate_size=wide, hidden_dropout_prob=0., attention_probs_dropout_prob=0.)
    config._attn_implementation = 'eager'
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        layer = BertLayer(config).double().eval()
        for o in layer.parameters(): o.data.normal_()
        x = torch.randn(bs, T, d, dtype=torch.float64)
    mask = torch.ones(bs, T, dtype=torch.bool)
    if gap: mask[:, 1:T//2] = False # a mask need not be at the end
    with torch.no_grad(): out = layer(x, attention_mask=torch.where(mask, 0., -1e30).double()[:, None, None, :])
    theirs = (out[0] if isinstance(out, tuple) else out).numpy()
    weights = {name: o.numpy() for name,o in layer.state_dict().items()}
    ours = bert_layer(x.numpy(), weights, n_heads, mask.numpy(), config.layer_norm_eps)
    np.testing.assert_allclose(ours, theirs, rtol=1e-7, atol=1e-8)


q,w = np.zeros((2, 3)),np.zeros(3)

@pytest.mark.parametrize('f, args, why', [
    (attention, (q, np.zeros((2, 4)), q), 'one width c'), (attention, (q, q, np.zeros((1, 3))), 'as many values as keys'), (attention, (q[0], q, q), 'one width c'),
    (attention, (q, np.zeros((0, 3)), np.zeros((0, 3))), 'one width c'), (attention, (np.zeros((2, 2, 3)), q, q), 'one width c'), (attention, (['a'], q, q), 'no number'),
    (attention, (torch.zeros(2, 3, requires_grad=True), q, q), 'with a gradient'), (attention, (q, q+np.nan, q), 'key is not finite'), (attention, (q, q, q+np.inf), 'value is not finite'),
    (attention_weights, (q, q, np.ones((3, 3))), 'broadcasts to them'), (attention_weights, (q, q, [1, -1]), 'other things than 0 and 1'), (attention_weights, (q, q, [.5, 1]), 'other things'),
    (attention_weights, (q, q, [False, False]), 'nowhere'), (attention_weights, (q, q, [[1, 1], [0, 0]]), 'nowhere'),
    (attention_grad, (q, q, q, w), r'upstream has shape \(3,\)'), (attention_grad, (q, q, q, q+np.nan), 'upstream is not finite'),
    (layer_norm, (q, np.zeros(2), w), r'give \(…, d\)'), (layer_norm, (3., w, w), r'give \(…, d\)'), (layer_norm, (q, w, w, 0.), 'eps is 0'), (layer_norm, (q, w, w, np.nan), 'eps is nan'),
    (layer_norm, (np.zeros((2, 0)), np.zeros(0), np.zeros(0)), r'give \(…, d\)'), (layer_norm, (q, w+np.inf, w), 'weight is not finite'),
    (layer_norm_grad, (q, w, w, w), 'upstream has shape'), (gelu, ([np.nan],), 'x is not finite'), (gelu_grad, ([np.inf],), 'x is not finite'), (gelu, ('x',), 'no number'),
    (bert_layer, (q, {}, 1), r'give \(B, T, d\)'), (bert_layer, (q[None], {}, 2), '2 heads do not divide'), (bert_layer, (q[None], {}, 0), '0 heads'),
    (bert_layer, (q[None], {}, 1, np.ones(2)), 'one number per token'), (bert_layer, (q[None]+np.nan, {}, 1), 'hidden is not finite')])
def test_bad_input(f, args, why):
    with pytest.raises(ValueError, match=why) as e: f(*args)
    assert str(e.value).startswith(f.__name__+':')


def test_a_missing_weight_is_named():
    with pytest.raises(KeyError, match='attention.self.query.weight'): bert_layer(q[None], {}, 1)


def test_vectors_that_are_all_alike_do_not_divide_by_zero():
    assert layer_norm(np.full((2, 3), 7.), w+2, w+1).tolist()==[[1.]*3]*2
    assert np.isfinite(layer_norm_grad(np.full((2, 3), 7.), w+2, w, q+1)[0]).all()
    assert gelu([1e3, -1e3, 0.]).tolist()==[1e3, 0., 0.] and gelu_grad([1e3, -1e3, 0.]).tolist()==[1., 0., .5]


def test_what_comes_in_stays_as_it_was():
    rng = np.random.default_rng(0)
    arrays = [*rng.normal(size=(4, 3, 3)), rng.normal(size=3)]
    for o in arrays: o.setflags(write=False)
    a,b,c,g,v = arrays
    attention_grad(a, b, c, g, np.tril(np.ones((3, 3))))
    layer_norm_grad(a, v, v, g)
    gelu_grad(a)
