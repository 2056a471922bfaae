import datetime

import numpy
import torch

from mmseg_fsr.analysis.benchmark import environment


def test_facts_name_the_machine_and_the_versions():
    facts = environment(numpy)
    assert facts["date"] == datetime.date.today().isoformat()
    assert facts["processor"]
    assert facts["cpus"] >= 1
    assert facts["load"] >= 0
    assert facts["threads"] == torch.get_num_threads()
    assert facts["torch"] == torch.__version__
    assert facts["numpy"] == numpy.__version__
