"""The session that is recorded: every command of `hb` with its main options, chapter by chapter.

Each chapter has directories and homes of its own, so that a difference in one is no difference in the next.
"""

from session import first_steps, looking, sharing

CHAPTERS = (
    first_steps.help_texts,
    first_steps.usage,
    first_steps.homes,
    first_steps.spawning,
    first_steps.sending,
    looking.looking,
    looking.hostile,
    looking.computing,
    looking.calling,
    looking.talking,
    sharing.forking,
    sharing.files,
    sharing.verifying,
    sharing.messages,
    sharing.completion,
    looking.real_module,
)
