from hypothesis import given
from hypothesis import strategies as st

from appliance.cli.develop.several_nodes.account import Account

STEPS = st.lists(st.tuples(st.sampled_from(["answer", "answer again", "end"]), st.integers(0, 9)), max_size=30)


@given(STEPS)
def test_each_message_is_answered_or_cut_off_or_pending(steps):
    account = Account()
    for number in range(10):
        account.send(str(number))
    for step, number in steps:
        if step == "end":
            account.end_session([str(number)])
        else:
            account.answer(str(number))
    assert account.sent == account.answered + len(account.cut_off) + len(account.pending) == 10
    assert account.doubled + account.answered == sum(step != "end" for step, _ in steps)


def test_what_the_end_of_a_session_does_not_name_stays_pending():
    account = Account()
    account.send("before")
    account.send("written to the next session")
    account.end_session(["before", "confirmed and answered long ago"])
    assert account.cut_off == ["before"]
    assert account.pending == ["written to the next session"]


def test_an_answer_to_what_was_cut_off_is_one_too_many():
    account = Account()
    account.send("a")
    account.end_session(["a"])
    account.answer("a")
    assert (account.answered, account.doubled) == (0, 1)
