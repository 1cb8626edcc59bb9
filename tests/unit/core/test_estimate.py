import numpy as np
import pytest

from limbeck.core.estimate import Estimate, integrated_autocorrelation_time, mean_of_series, root_mean_square


def autoregressive(rng: np.random.Generator, phi: float, length: int) -> np.ndarray:
    noise = rng.normal(size=length)
    x = np.empty(length)
    x[0] = noise[0] / np.sqrt(1 - phi**2)
    for i in range(1, length):
        x[i] = phi * x[i - 1] + noise[i]
    return x


@pytest.mark.parametrize("phi", [0.0, 0.5, 0.9])
def test_autocorrelation_time_of_an_autoregressive_process_is_the_exact_one(phi):
    exact = (1 + phi) / (1 - phi)
    rng = np.random.default_rng(1)
    values = [integrated_autocorrelation_time(autoregressive(rng, phi, 4000)) for _ in range(40)]
    assert np.mean(values) == pytest.approx(exact, rel=0.1)


def test_mean_of_a_correlated_series_covers_the_truth_at_its_rate():
    rng = np.random.default_rng(2)
    hits = 0
    replicas = 400
    for _ in range(replicas):
        estimate = mean_of_series(autoregressive(rng, 0.8, 1000))
        hits += abs(estimate.value) < 1.96 * estimate.standard_error
    # 95 % nominal; four standard errors of a binomial of 400 are 4.4 %: false alarm below 1e-4, bias allowance 2 %
    assert 0.95 - 0.064 < hits / replicas < 0.95 + 0.044


def test_ignoring_correlation_would_be_caught():
    rng = np.random.default_rng(3)
    naive = [x.std(ddof=1) / np.sqrt(x.size) for x in (autoregressive(rng, 0.8, 1000) for _ in range(50))]
    honest = [mean_of_series(autoregressive(rng, 0.8, 1000)).standard_error for _ in range(50)]
    assert np.mean(honest) == pytest.approx(3 * np.mean(naive), rel=0.15)  # tau = 9


def test_constant_series_and_bad_input():
    assert mean_of_series(np.ones(10)).standard_error == 0
    with pytest.raises(ValueError, match="at least 2"):
        integrated_autocorrelation_time(np.array([1.0]))
    with pytest.raises(ValueError, match="NaN"):
        integrated_autocorrelation_time(np.array([1.0, np.nan]))


def test_root_mean_square_and_its_jackknife_error():
    rng = np.random.default_rng(4)
    values, errors = [], []
    for _ in range(300):
        groups = [rng.normal(scale=0.05, size=24) for _ in range(12)]
        estimate = root_mean_square(groups)
        values.append(estimate.value)
        errors.append(estimate.standard_error)
    assert np.mean(values) == pytest.approx(0.05, rel=0.01)
    assert np.mean(errors) == pytest.approx(np.std(values), rel=0.1)


def test_root_mean_square_of_one_group_has_no_error_and_of_none_is_refused():
    assert np.isnan(root_mean_square([np.array([3.0, 4.0])]).standard_error)
    assert root_mean_square([np.array([3.0, 4.0])]).value == pytest.approx(np.sqrt(12.5))
    with pytest.raises(ValueError, match="at least one value"):
        root_mean_square([])


@pytest.mark.parametrize(("unit", "text"), [("GPa", "98.1 ± 1.1 GPa"), ("1", "98.1 ± 1.1")])
def test_an_estimate_reads_as_value_error_unit(unit, text):
    assert str(Estimate(98.1, 1.1, 10, unit, "x")) == text
