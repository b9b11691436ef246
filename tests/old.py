"Checkpoints that version 0.1.0 wrote, before learners had one base, and what that version went on to predict."
import json
from pathlib import Path
import numpy as np
from recinc_nb import Learner

old = Path(__file__).resolve().parent/'data'/'old'


def check_old(name):
    "It loads, and goes on as the version would have that wrote it, to the last bit; the loaded learner."
    known,m = json.loads((old/f'{name}.json').read_text()),Learner.from_pretrained(old/name)
    np.testing.assert_array_equal(m.predict_learn(known['events']), known['pred'])
    assert m.predict_one(-1, -1)==known['stranger'] and m.score_items(0).tolist()==known['score']
    return m
