"""Safe comments: praise, politeness and votes that would fit any photo, and so say nothing of this one."""

from __future__ import annotations

import re

__all__ = ["is_safe", "words"]

_WORD = re.compile(r"[^\W\d_]+(?:['\u2019][^\W\d_]+)*")

# What "nice shot", "wow, great photo, well done and good luck" and the like consist of, and nothing else.
_SAFE_WORDS = """
    a an the this that these it its it's is are was be i i'm im i've i'd i'll you your you're u ur me my we he she they
    here there and or but so as of for on in to at with from by one what how very really so much just quite
    too truly absolutely totally simply extremely all well always again another also not no yes yeah yep still
    nice nicely good great lovely beautiful beautifully wonderful wonderfully awesome amazing excellent fantastic
    superb brilliant stunning gorgeous cool sweet fine perfect perfectly outstanding fabulous terrific splendid
    magnificent incredible impressive pleasing fun cute pretty neat interesting favorite favourite fav best better
    shot shots photo photos pic pics picture pictures photograph photography image images capture captured captures
    work job piece effort entry try attempt stuff thing one done made taken shooting image's
    love like liked loved enjoy enjoyed likes loves congrats congratulations congratulation thanks thank thx sharing
    luck wish wishes hope hopefully deserve deserves deserved ribbon win winner wins contest challenge wow whoa
    haha lol hehe omg hi hello hey cheers bravo kudos welcome dear friend sir keep up going
    bump bumping bumped vote voted voting score scored scoring top ten pick picks give gave giving
    have has had do did does see seen look looks looking think say said can could would should will
    regards greetings bye oh ah ok okay please sorry
"""
_SAFE = frozenset(_SAFE_WORDS.split())


def words(text: str) -> list[str]:
    """The words of a text, lower-cased; numbers and marks are none."""
    return [word.replace("\u2019", "'").lower() for word in _WORD.findall(text)]


def is_safe(text: str) -> bool:
    """Whether a text says nothing but praise, politeness or votes that would fit any photo."""
    return all(word in _SAFE for word in words(text))
