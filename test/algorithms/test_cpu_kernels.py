"""What an update changes about the processor: memory stays, threads and precision come back."""

import platform
import resource

import pytest
import torch

from h2o_ros.algorithms.cpu_kernels import fast_arithmetic

PAGE = resource.getpagesize()


@pytest.mark.skipif(platform.libc_ver()[0] != 'glibc', reason='a setting of glibc')
def test_freed_memory_is_not_asked_for_again():
    """Layers' outputs of 16 MB, five at once as between a forward and a backward pass."""

    def pass_over():
        return sum(float(x[0]) for x in [torch.ones(4_000_000) for _ in range(5)])

    with fast_arithmetic(0):
        for _ in range(5):
            pass_over()
        before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
        for _ in range(3):
            pass_over()
        pages = resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before
    assert pages < 3 * 5 * 16_000_000 / PAGE / 10


def test_threads_and_precision_are_put_back_even_after_an_error():
    before = torch.get_num_threads(), torch.get_float32_matmul_precision()
    with pytest.raises(ZeroDivisionError), fast_arithmetic(256):
        assert torch.get_num_threads() == 1
        raise ZeroDivisionError
    assert (torch.get_num_threads(), torch.get_float32_matmul_precision()) == before
