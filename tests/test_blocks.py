"""The loop over blocks: killed and resumed, its labels kept apart, all of a pass taken back, older checkpoints, and models of one's own."""
import json, shutil, subprocess, sys
import numpy as np, pytest
from helpers import root
from recinc_nb import IncrementalBert, L2SP, LoRA, Reservoir, Stream, drift_stream
from recinc_nb.blocks import BlockLoop, go_back, take_snapshot

pytestmark = pytest.mark.usefixtures('one_thread')

world = drift_stream(400, n_users=12, n_items=30, seed=1)
told = world.with_text()
OLD = root/'tests'/'data'/'old'


def state(m):
    return {**{k: v.tobytes() for k,v in m.arrays().items()}, 'past': repr(sorted(m.history_.past.items(), key=repr)), 'ids': (m.users_.ids, m.items_.ids),
            'counts': (m.n_, m.n_steps_, m.n_cut_), 'remedies': [{k: v.tobytes() for k,v in r.arrays().items()} for r in m.remedies_]}


def test_a_loop_that_is_killed_goes_on_from_its_last_block(tmp_path):
    code = f'''
import os, torch
torch.set_num_threads(1)
from recinc_nb import BlockLoop, IncrementalBert, Reservoir, drift_stream
class Killed(BlockLoop):
    def _follow(self, last, new):
        super()._follow(last, new)
        if self.position_==160: os._exit(9)
world = drift_stream(400, n_users=12, n_items=30, seed=1).with_text()
model = IncrementalBert('tiny', update='top-1', remedies=(Reservoir(50),))
Killed(model, block=40, batch_size=20, passes=2).run(world.take(280), {str(tmp_path/'l')!r}, every=2)
'''
    assert subprocess.run([sys.executable, '-c', code]).returncode==9
    part = told.take(280)
    loop = BlockLoop.from_pretrained(tmp_path/'l')
    assert loop.position_==160 and len(list((tmp_path/'l').glob('model-*')))==1
    never = BlockLoop(IncrementalBert('tiny', update='top-1', remedies=(Reservoir(50),)), block=40, batch_size=20, passes=2)
    np.testing.assert_array_equal(loop.run(part).frame['pred'], never.run(part).frame['pred'])
    assert state(loop.model)==state(never.model) and loop.n_passes_==never.n_passes_
    with pytest.raises(ValueError, match='280 events were followed, but the stream has 40'): loop.run(part.take(40))


@pytest.mark.parametrize('kw', [dict(update='top-1'), dict(update='all', remedies=(L2SP(.1, after=40, every=30),)), dict(update='head', remedies=(Reservoir(20),)),
                                dict(update=LoRA(r=2, lr=1e-2, prox=.3, every=2))], ids=['none', 'pull', 'replay', 'proximal'])
def test_what_is_taken_back_never_was(kw):
    "Weights, moments, counts, and what remedies hold: the anchors of LoRA's pull, too, which were buffers that a rollback forgot."
    a,b = (IncrementalBert('tiny', **kw) for _ in range(2))
    for m in (a, b):
        for x in world[:60].batches(20): m.partial_fit(x)
    before = state(b)
    kept = take_snapshot(b)
    for _ in range(2): # a snapshot serves twice
        for x in told[60:120].batches(20): b.partial_fit(x.events[['text_pair', 'label']].rename(columns=dict(text_pair='text')))
        assert state(b)!=before
        go_back(b, kept)
        assert state(b)==before
    for x in world[60:100].batches(20): a.partial_fit(x), b.partial_fit(x)
    assert state(a)==state(b)


def test_an_event_counts_once_however_often_it_is_looked_at():
    loop = BlockLoop(IncrementalBert('tiny', update='head', max_length=4), block=20, batch_size=10, passes=3)
    loop.run(told.take(60))
    plain = IncrementalBert('tiny', update='head', max_length=4)
    for x in told[:40].batches(10): plain.partial_fit(x)
    assert (loop.model.n_, loop.model.n_cut_)==(plain.n_, plain.n_cut_) and loop.model.n_cut_>0 and len(loop.model.seen_)==40


class Mine(IncrementalBert):
    "A model of one's own."


def test_a_model_of_ones_own_comes_back_as_what_it_was(tmp_path):
    loop = BlockLoop(Mine('tiny', update='head'), block=20, passes=1)
    loop.run(told.take(40), tmp_path/'l', every=1)
    back = BlockLoop.from_pretrained(tmp_path/'l')
    assert type(back.model) is Mine
    path = tmp_path/'l'/'config.json'
    path.write_text(json.dumps({**json.loads(path.read_text()), 'model_class': 'Theirs'}))
    with pytest.raises(ValueError, match="called 'Theirs'"): BlockLoop.from_pretrained(tmp_path/'l')


def test_an_older_checkpoint_goes_on_and_one_that_replayed_says_what_to_do(tmp_path):
    "Saved by version 0.1.0 at 9b4a1a7, with LoRA's previous adapters as buffers."
    expected = json.loads((OLD/'bert.json').read_text())['BlockLoop']['pred']
    loop = BlockLoop.from_pretrained(OLD/'BlockLoop')
    pred = loop.run(told.take(60)).frame['pred'].to_numpy()
    np.testing.assert_array_equal(pred[:30], expected[:30]) # from there on the head steps in another way
    assert len(pred)==60 and .01<np.abs(pred-expected).max()<.15 # a step of the head is bounded since
    shutil.copytree(OLD/'BlockLoop', tmp_path/'l')
    path = tmp_path/'l'/'config.json'
    config = json.loads(path.read_text())
    config['params']['replay'] = 32
    path.write_text(json.dumps(config))
    with pytest.raises(ValueError, match='replay=32, which is a remedy'): BlockLoop.from_pretrained(tmp_path/'l')


def test_a_log_with_texts_of_its_own_is_told_anew():
    events = world.events.take(range(60)).assign(text='what came of it')
    with pytest.warns(UserWarning, match='own column text'): a = BlockLoop(IncrementalBert('tiny', update='head'), block=20).run(Stream(events, world.items))
    np.testing.assert_array_equal(a.frame['pred'], BlockLoop(IncrementalBert('tiny', update='head'), block=20).run(told.take(60)).frame['pred'])
