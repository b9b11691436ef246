"Checkpoints that version 0.1.0 wrote, before learners had one base, and what that version went on to predict."
import json
from pathlib import Path
import numpy as np, pytest
from recinc_nb import Learner

OLD = Path(__file__).resolve().parent/'data'/'old'


@pytest.mark.parametrize('name', sorted({o.stem for o in OLD.glob('*.json')} - {'bert'})) # that one: test_bert
def test_checkpoints_of_before_go_on(name):
    "They load, and go on as the version would have that wrote them, to the last bit."
    known,m = json.loads((OLD/f'{name}.json').read_text()),Learner.from_pretrained(OLD/name)
    if m.remember_seen: assert m.n_==len(m.seen_[0])>0
    if name=='OnlineStack': # without the columns that told how unsure its learners were
        assert len(m.weights_)==len(m.learners_) + m.n_more
        return np.testing.assert_allclose(m.predict_learn(known['events']), known['pred'], atol=.015)
    np.testing.assert_array_equal(m.predict_learn(known['events']), known['pred'])
    assert m.predict_one(-1, -1)==known['stranger'] and m.score_items(0).tolist()==known['score']
    if name=='MFStrategy': assert m.items==[3, (1, 'a')] and not m.remedies
    if name=='MFStrategy anchor': assert [(type(r).__name__, r.strength, r.after) for r in m.remedies]==[('L2SP', .3, 12)]
