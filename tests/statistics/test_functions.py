"""The macros of macros/statistics against scipy, over the whole range of their arguments."""

import duckdb
import numpy as np
import pytest
from scipy import special, stats

from .experiments import ExperimentWarehouse

SIZE = 4000
TINY = 1e-300


@pytest.fixture(scope="module")
def compiled(tmp_path_factory):
    """The SQL of every macro under test, compiled by dbt once."""
    warehouse = ExperimentWarehouse(tmp_path_factory.mktemp("functions"))
    queries = {
        "normal": "select i, {{ normal_cdf('x') }} as cdf, {{ normal_quantile('p') }} as quantile "
        "from inputs",
        "student_t": "with {{ student_t_cdf('inputs', 't', 'df', 'cdf', 'with_cdf') }}, "
        "{{ student_t_quantile('with_cdf', 'p', 'df', 'quantile', 'with_quantile') }} "
        "select i, cdf, quantile from with_quantile",
        "chi_square": "with {{ chi_square_survival('inputs', 'x', 'df', 'survival', 'tested') }} "
        "select i, survival from tested",
        "beta": "with {{ incomplete_beta('inputs', 'x', 'y', 'a', 'b', 'beta', 'tested') }} "
        "select i, beta from tested",
    }
    return {
        name: warehouse.dbt("compile", "--inline", query)[0].node.compiled_code
        for name, query in queries.items()
    }


def evaluate(sql: str, **columns) -> dict:
    """Each result column as an array, one value a row of the given columns."""
    with duckdb.connect() as connection:
        names = ", ".join(f"{name} double" for name in columns)
        connection.execute(f"create table inputs (i bigint, {names})")
        size = len(next(iter(columns.values())))
        connection.execute(
            "insert into inputs select unnest(?), " + ", ".join("unnest(?)" for _ in columns),
            [list(range(size)), *[np.asarray(values, float).tolist() for values in columns.values()]],
        )
        answers = connection.execute(f"select * from ({sql}) as answers order by i").fetchnumpy()
    return {name: np.ma.filled(values.astype(float), np.nan) for name, values in answers.items()}


def relative_error(ours: np.ndarray, theirs: np.ndarray) -> float:
    """The greatest, over the answers that a double can hold with all its digits."""
    shown = (np.abs(theirs) > TINY) & (np.abs(theirs) < 1 / TINY)
    assert shown.mean() > 0.8
    return float(np.max(np.abs(ours[shown] / theirs[shown] - 1)))


@pytest.fixture
def random():
    return np.random.default_rng(8)


def test_normal__whole_range__cdf_and_quantile_to_twelve_digits(compiled, random):
    x = random.uniform(-37.5, 37.5, SIZE)
    p = np.concatenate([10 ** random.uniform(-300, -0.31, SIZE // 2), random.uniform(0, 1, SIZE // 2)])
    answer = evaluate(compiled["normal"], x=x, p=p)
    assert relative_error(answer["cdf"], special.ndtr(x)) < 1e-12
    assert relative_error(answer["quantile"], special.ndtri(p)) < 1e-12


def test_student_t__whole_range__cdf_to_twelve_digits(compiled, random):
    df = np.concatenate([10 ** random.uniform(0, 12, SIZE // 2), random.uniform(1, 50, SIZE // 2)])
    t = -(10 ** random.uniform(-6, 2, SIZE)) * np.where(random.uniform(size=SIZE) < 0.8, 1, -1)
    answer = evaluate(compiled["student_t"], t=t, df=df, p=np.full(SIZE, 0.025))
    with np.errstate(all="ignore"):
        theirs = stats.t.cdf(t, df)
    assert relative_error(answer["cdf"], theirs) < 1e-12


def test_student_t__whole_range__quantile_to_twelve_digits(compiled, random):
    """scipy's own quantile is wrong far out: compared where its cdf gives the probability back."""
    df = np.concatenate([10 ** random.uniform(0, 10, SIZE // 2), random.uniform(1, 50, SIZE // 2)])
    p = np.concatenate([10 ** random.uniform(-300, -0.31, SIZE // 2), random.uniform(1e-6, 0.499, SIZE // 2)])
    random.shuffle(p)
    answer = evaluate(compiled["student_t"], t=np.zeros(SIZE), df=df, p=p)
    with np.errstate(all="ignore"):
        theirs = stats.t.ppf(p, df)
        right = (np.abs(stats.t.cdf(theirs, df) / p - 1) < 1e-11) & (np.abs(theirs) < 1e100)
    assert right.mean() > 0.9
    assert relative_error(answer["quantile"][right], theirs[right]) < 1e-12


def test_student_t__quantile_far_out__cdf_gives_the_probability_back(compiled, random):
    """Our own cdf is right there (against scipy's above), so it judges the quantiles that scipy cannot."""
    df = random.uniform(3, 1000, SIZE)
    p = 10 ** random.uniform(-290, -1, SIZE)
    quantiles = evaluate(compiled["student_t"], t=np.zeros(SIZE), df=df, p=p)["quantile"]
    near = np.abs(quantiles) < 1e99
    back = evaluate(compiled["student_t"], t=quantiles[near], df=df[near], p=p[near])["cdf"]
    assert relative_error(back, p[near]) < 1e-10  # a quantile's last digit is many of its probability's


def test_chi_square__up_to_a_thousand_degrees__survival_to_twelve_digits(compiled, random):
    df = np.concatenate([random.integers(1, 50, SIZE // 2), 10 ** random.uniform(0, 3, SIZE // 2)])
    x = np.concatenate(
        [10 ** random.uniform(-6, 3, SIZE // 2), df[SIZE // 2 :] * 10 ** random.uniform(-0.3, 0.5, SIZE // 2)]
    )
    answer = evaluate(compiled["chi_square"], x=x, df=df)
    assert relative_error(answer["survival"], stats.chi2.sf(x, df)) < 1e-12


def test_incomplete_beta__half_to_a_million__to_twelve_digits(compiled, random):
    a, b = 10 ** random.uniform(-0.301, 6, (2, SIZE))
    spread = np.sqrt(a * b / (a + b) ** 2 / (a + b + 1))
    x = np.clip(a / (a + b) + 4 * spread * random.normal(size=SIZE), 1e-12, 1 - 1e-12)
    answer = evaluate(compiled["beta"], x=x, y=1 - x, a=a, b=b)
    assert relative_error(answer["beta"], special.betainc(a, b, x)) < 1e-12


def test_functions__at_and_outside_their_borders__null_or_the_limit(compiled):
    t = evaluate(
        compiled["student_t"],
        t=[0, 1e200, -1e200, 1, 1],
        df=[5, 5, 5, 0, -1],
        p=[0.5, 0, 1, 0.1, 0.1],
    )
    assert t["cdf"][:3].tolist() == [0.5, 1, 0] and np.isnan(t["cdf"][3:]).all()
    assert t["quantile"][0] == 0 and np.isnan(t["quantile"][1:5]).all()
    normal = evaluate(compiled["normal"], x=[0, 50, -50], p=[0, 1, 0.5])
    assert normal["cdf"].tolist() == [0.5, 1, 0] and normal["quantile"][2] == 0
    assert np.isnan(normal["quantile"][:2]).all()
    chi = evaluate(compiled["chi_square"], x=[0, 1e5, 1], df=[3, 3, 0])
    assert chi["survival"][:2].tolist() == [1, 0] and np.isnan(chi["survival"][2])


def test_functions__compiled__no_megabytes_of_sql(compiled):
    """Arguments are repeated many times: what is put in must be columns, or the SQL explodes."""
    assert max(map(len, compiled.values())) < 100_000
