import asyncio

from pagelet_operator.local.notices import Notices


async def test_what_was_posted_is_taken_once_in_order():
    notices = Notices()
    notices("A", "first")
    notices("B", "second")
    assert notices.take() == [("A", "first"), ("B", "second")]
    assert notices.take() == []


async def test_a_post_before_the_wait_is_not_missed():
    notices = Notices()
    notices("A", "first")
    await asyncio.wait_for(notices.wait(600.0), 10.0)
    assert notices.take() == [("A", "first")]


async def test_a_wake_ends_the_wait_without_a_notice():
    notices = Notices()
    waiting = asyncio.create_task(notices.wait(600.0))
    await asyncio.sleep(0)
    notices.wake()
    await asyncio.wait_for(waiting, 10.0)
    assert notices.take() == []


async def test_the_wait_is_over_when_its_time_is():
    notices = Notices()
    await asyncio.wait_for(notices.wait(0.01), 10.0)
    assert notices.take() == []
