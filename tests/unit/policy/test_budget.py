"""The retry budget, in situations."""

from switchgear.policy.budget import BudgetSettings, RetryBudget


def spend_all(budget: RetryBudget, now: float) -> int:
    spent = 0
    while budget.withdraw(now):
        spent += 1
    return spent


def test_a_quiet_route_may_retry_from_the_floor() -> None:
    assert spend_all(RetryBudget(), 0.0) == 30, "3/s over 10 s"


def test_a_fifth_of_the_requests_may_be_tried_again() -> None:
    budget = RetryBudget(BudgetSettings(floor=0.0))
    assert not budget.withdraw(0.0)
    for _ in range(99):
        budget.deposit(0.0)
    assert spend_all(budget, 0.0) == 19
    budget.deposit(0.0)
    assert spend_all(budget, 0.0) == 1
    assert budget.statistics() == {"granted": 20, "denied": 3}


def test_under_all_errors_attempts_stay_within_a_quarter_above_requests() -> None:
    budget, attempts = RetryBudget(), 0
    requests = 60 * 100
    for request in range(requests):
        now = request / 100
        budget.deposit(now)
        attempts += 1
        for _ in range(2):
            attempts += budget.withdraw(now)
    assert attempts / requests <= 1.25


def test_two_layers_that_share_a_budget_do_not_multiply() -> None:
    budget, attempts = RetryBudget(), 0
    requests = 60 * 100
    for request in range(requests):
        now = request / 100
        budget.deposit(now)
        for outer in range(3):
            if outer and not budget.withdraw(now):
                break
            attempts += 1
            for _inner in range(2):
                attempts += budget.withdraw(now)
    assert attempts / requests <= 1.25


def test_the_budget_comes_back_as_the_window_moves_on() -> None:
    budget = RetryBudget()
    spend_all(budget, 0.0)
    assert not budget.withdraw(9.0)
    assert spend_all(budget, 10.0) == 30


def test_what_is_counted_by_hand_falls_into_the_bucket_of_the_last_deposit() -> None:
    budget = RetryBudget(BudgetSettings(ratio=1.0, floor=0.0))
    assert budget.edge == float("-inf")
    budget.deposit(100.5)
    assert budget.edge == 101.0
    budget.fresh += 3
    budget.deposit(105.0)
    assert (budget.fresh, budget.edge) == (0, 106.0)
    budget.fresh += 2
    assert spend_all(budget, 109.9) == 7
    assert budget.fresh == 0
    assert spend_all(budget, 110.0) == 0  # the four of 100 are forgotten, and seven were spent
    assert spend_all(budget, 120.0) == 0


def test_a_fresh_budget_has_granted_and_denied_nothing() -> None:
    budget = RetryBudget()
    assert budget.statistics() == {"granted": 0, "denied": 0}
    assert budget.fresh == 0
