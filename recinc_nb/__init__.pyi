# Made by python tools/public.py; do not edit.
__version__: str
from .core import Device as Device, pick_device as pick_device, progress as progress, results as results, scale as scale, seed_everything as seed_everything, unattended as unattended
from .streams import Stream as Stream, movielens_100k as movielens_100k
from .worlds import drift_stream as drift_stream
from .protocol import Report as Report, compare as compare, from_river as from_river, from_sklearn as from_sklearn, oracle_report as oracle_report, prequential as prequential
from .learner import Learner as Learner, L2SP as L2SP, Remedy as Remedy, Reservoir as Reservoir, Step as Step
from .topn import prequential_topn as prequential_topn
from .difference import paired_bootstrap as paired_bootstrap
from .baselines import BiasBaseline as BiasBaseline, ItemItem as ItemItem, Popularity as Popularity, RunningMean as RunningMean
from .losses import check_gradient as check_gradient
from .linear import IncrementalLinear as IncrementalLinear, IncrementalLogistic as IncrementalLogistic
from .mf_online import IncrementalMF as IncrementalMF
from .settings import OnlineExperts as OnlineExperts
from .mf_strategies import MFStrategy as MFStrategy
from .mf_als import GaussianMF as GaussianMF, IncrementalALS as IncrementalALS
from .clock import ClockFilter as ClockFilter
from .stack import OnlineStack as OnlineStack
from .mf_rank import BPRMF as BPRMF, ISGD as ISGD, RAISGD as RAISGD
from .mf_next import ImplicitALS as ImplicitALS, RankStack as RankStack, SoftmaxMF as SoftmaxMF
from .visit import ClockItems as ClockItems, VisitStack as VisitStack
from .text import item_vectors as item_vectors
from .bert_online import IncrementalBert as IncrementalBert, UpdatePolicy as UpdatePolicy
from .lora import LoRA as LoRA, TwinLoRA as TwinLoRA
from .blocks import BlockLoop as BlockLoop
from .forgetting import score_matrix as score_matrix, transfer_measures as transfer_measures
from .replay import Replay as Replay
from .transfer import follow_blocks as follow_blocks, gate_slope as gate_slope
from .distill import AGEM as AGEM, Distill as Distill
from .bank import SnapshotBank as SnapshotBank
from .heads import BankBert as BankBert
from .drift import ADWIN as ADWIN, ForgetOnDrift as ForgetOnDrift, PageHinkley as PageHinkley
from .policies import EveryBlock as EveryBlock, OnAlarm as OnAlarm, RandomShare as RandomShare, follow_policy as follow_policy
from .hybrid import HybridStack as HybridStack, TextFilter as TextFilter, TextRidge as TextRidge, text_features as text_features
from .meta import meta_gradient as meta_gradient, user_posterior as user_posterior, user_prior as user_prior
from .ewc import EWC as EWC, SynapticIntelligence as SynapticIntelligence, fisher_diagonal as fisher_diagonal
from .live import live_page as live_page
from .race import race_log as race_log

__all__: list[str]
