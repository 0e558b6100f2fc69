"""Templates beside those of the table: their habits, and what is supervised of them."""

from __future__ import annotations

import pytest
from chat_families import SYSTEM_APART, Family, family_tokenizer

from valign.core.records import Message
from valign.models.chat_template import render_conversation

QUESTION: Message = {"role": "user", "content": "May I?"}
ANSWER: Message = {"role": "assistant", "content": "No."}
SYSTEM: Message = {"role": "system", "content": "Obey."}
PLAIN = "{% if enable_thinking is defined and not enable_thinking %}"
FAMILIES = {
    "new lines around every block": Family(
        "llama",
        "{% for m in messages %}\n{% if m.role == 'user' %}\n{{ '<|user|>\n' + m.content + eos_token }}\n"
        "{% elif m.role == 'system' %}\n{{ '<|system|>\n' + m.content + eos_token }}\n{% else %}\n"
        "{{ '<|assistant|>\n' + m.content + eos_token }}\n{% endif %}\n"
        "{% if loop.last and add_generation_prompt %}\n{{ '<|assistant|>' }}\n{% endif %}\n{% endfor %}",
        "<|user|>\nMay I?</s>\n<|assistant|>\n", "No.</s>", ("<s>", "</s>"), "</s>", "<s>",
    ),
    "no end behind an answer": Family(
        "llama",
        "[gMASK]<sop>{% for m in messages %}<|{{ m.role }}|>\n{{ m.content.strip() }}{% endfor %}"
        "{% if add_generation_prompt %}<|assistant|>\n{% endif %}",
        "[gMASK]<sop><|user|>\nMay I?<|assistant|>\n", "No.<|endoftext|>",
        ("[gMASK]", "<sop>", "<|user|>", "<|assistant|>", "<|system|>", "<|endoftext|>"), "<|endoftext|>",
    ),
    "a word against thinking in the question": Family(
        "llama",
        "{% for m in messages %}{% if m.role == 'assistant' %}{{ '<｜hy_Assistant｜>' + m.content + '<｜hy_end｜>' }}"
        "{% else %}{{ '<｜hy_User｜>' }}" + PLAIN + "{{ '/no_think' }}{% endif %}{{ m.content }}{% endif %}{% endfor %}"
        "{% if add_generation_prompt %}{{ '<｜hy_Assistant｜>' }}" + PLAIN + "{{ '<think>\n\n</think>\n' }}{% endif %}"
        "{% endif %}",
        "<｜hy_User｜>/no_thinkMay I?<｜hy_Assistant｜><think>\n\n</think>\n", "No.<｜hy_end｜>",
        ("<｜hy_User｜>", "<｜hy_Assistant｜>", "<｜hy_end｜>"), "<｜hy_end｜>",
    ),
    "the channels of gpt-oss": Family(
        "llama",
        "<|start|>system<|message|>Today: {{ strftime_now(\"%Y-%m-%d\") }}<|end|>{% for m in messages %}"
        "{% if m.role == 'assistant' %}<|start|>assistant<|channel|>final<|message|>{{ m.content }}"
        "{{ '<|return|>' if loop.last and not add_generation_prompt else '<|end|>' }}"
        "{% else %}<|start|>{{ m.role }}<|message|>{{ m.content }}<|end|>{% endif %}{% endfor %}"
        "{% if add_generation_prompt %}<|start|>assistant{% endif %}",
        "<|start|>system<|message|>Today: 2024-07-26<|end|><|start|>user<|message|>May I?<|end|>"
        "<|start|>assistant<|channel|>final<|message|>", "No.<|return|>",
        ("<|start|>", "<|end|>", "<|message|>", "<|channel|>", "<|return|>"), "<|return|>",
    ),
    "an empty channel of thought": Family(
        "llama",
        "{{ bos_token }}{% for m in messages %}<|turn>{{ 'model' if m.role == 'assistant' else m.role }}\n"
        "{{ m.content | trim }}<turn|>\n{% endfor %}{% if add_generation_prompt %}<|turn>model\n"
        "{% if not enable_thinking | default(false) %}<|channel>thought\n<channel|>{% endif %}{% endif %}",
        "<bos><|turn>user\nMay I?<turn|>\n<|turn>model\n<|channel>thought\n<channel|>", "No.<turn|>",
        ("<bos>", "<eos>", "<|turn>", "<turn|>", "<|channel>", "<channel|>"), "<eos>", "<bos>",
    ),
    "a space between the name and the answer": Family(
        "llama",
        "{{ bos_token }}{% for m in messages %}{% if m.role == 'user' %}{{ 'User: ' + m.content + '\n\n' }}"
        "{% elif m.role == 'assistant' %}{{ 'Assistant: ' + m.content + eos_token }}{% else %}{{ m.content + '\n\n' }}"
        "{% endif %}{% endfor %}{% if add_generation_prompt %}{{ 'Assistant:' }}{% endif %}",
        "<bos>User: May I?\n\nAssistant:", " No.<eos>", ("<bos>", "<eos>"), "<eos>", "<bos>",
    ),
    "today in a system turn of its own": Family(
        "llama",
        SYSTEM_APART + "{{ '<|start_of_role|>system<|end_of_role|>' + (system or 'Today is ' + "
        "strftime_now('%B %d, %Y')) + '<|end_of_text|>\n' }}{% for m in turns %}{{ '<|start_of_role|>' + m.role + "
        "'<|end_of_role|>' + m.content + "
        "'<|end_of_text|>\n' }}{% endfor %}"
        "{% if add_generation_prompt %}{{ '<|start_of_role|>assistant<|end_of_role|>' }}{% endif %}",
        "<|start_of_role|>system<|end_of_role|>Today is July 26, 2024<|end_of_text|>\n"
        "<|start_of_role|>user<|end_of_role|>May I?<|end_of_text|>\n<|start_of_role|>assistant<|end_of_role|>",
        "No.<|end_of_text|>", ("<|start_of_role|>", "<|end_of_role|>", "<|end_of_text|>"), "<|end_of_text|>",
    ),
    "words that the trainer of TRL asks for": Family(
        "llama",
        "{% for m in messages %}{{ '<|im_start|>' + m.role + '\n' }}{% if m.role == 'assistant' %}{% generation %}"
        "{{ m.content + '<|im_end|>' }}{% endgeneration %}{% else %}{{ m.content + '<|im_end|>' }}{% endif %}{{ '\n' }}"
        "{% endfor %}{% if add_generation_prompt %}{{ '<|im_start|>assistant\n' }}{% endif %}",
        "<|im_start|>user\nMay I?<|im_end|>\n<|im_start|>assistant\n", "No.<|im_end|>", ("<|im_start|>", "<|im_end|>"),
        "<|im_end|>",
    ),
    "nothing that opens an answer": Family(
        "llama",
        "{% for m in messages %}{{ '<|im_start|>' + m.role + '\n' + m.content + '<|im_end|>\n' }}{% endfor %}",
        "<|im_start|>user\nMay I?<|im_end|>\n<|im_start|>assistant\n", "No.<|im_end|>", ("<|im_start|>", "<|im_end|>"),
        "<|im_end|>",
    ),
}  # fmt: skip


@pytest.mark.parametrize("family", FAMILIES.values(), ids=list(FAMILIES))
def test_a_template_is_supervised_on_the_answer_and_its_end_alone(family: Family) -> None:
    """The prompt of training is that of generation, and a system turn is shown once, before the question."""
    tokenizer = family_tokenizer(family)
    found = render_conversation(tokenizer, [QUESTION, ANSWER])
    prompt, answer = found.ids[: found.prompt_length], found.ids[found.prompt_length :]
    assert tokenizer.decode(list(prompt)) == family.prompt
    assert tokenizer.decode(list(answer)) == family.answer
    assert render_conversation(tokenizer, [QUESTION]).ids == prompt
    told = render_conversation(tokenizer, [SYSTEM, QUESTION, ANSWER])
    shown = str(tokenizer.decode(list(told.ids[: told.prompt_length])))
    assert shown.count("Obey.") == 1 and shown.index("Obey.") < shown.index("May I?")
