"""Gradio's theme: colours and corners of its own components, as in ``static/app.css``; no font is fetched."""

from __future__ import annotations

import gradio as gr

FONT = ("system-ui", "sans-serif")
MONO = ("ui-monospace", "monospace")

THEME = gr.themes.Base(
    primary_hue="blue", neutral_hue="neutral", radius_size="md", text_size="sm", font=FONT, font_mono=MONO
).set(
    body_background_fill="var(--ground)",
    body_background_fill_dark="var(--ground)",
    body_text_color="var(--ink)",
    body_text_color_dark="var(--ink)",
    background_fill_primary="var(--card)",
    background_fill_primary_dark="var(--card)",
    block_background_fill="var(--card)",
    block_background_fill_dark="var(--card)",
    block_border_width="0px",
    block_label_text_color="var(--soft)",
    block_title_text_color="var(--soft)",
    block_title_text_weight="500",
    block_shadow="none",
    border_color_primary="var(--line)",
    border_color_primary_dark="var(--line)",
    button_primary_background_fill="var(--accent)",
    button_primary_background_fill_dark="var(--accent)",
    button_primary_background_fill_hover="var(--accent)",
    button_primary_background_fill_hover_dark="var(--accent)",
    button_primary_text_color="var(--on-accent)",
    button_primary_text_color_dark="var(--on-accent)",
    slider_color="var(--accent)",
    slider_color_dark="var(--accent)",
    checkbox_background_color_selected="var(--accent)",
    checkbox_background_color_selected_dark="var(--accent)",
    checkbox_label_background_fill="var(--raised)",
    checkbox_label_background_fill_dark="var(--raised)",
    checkbox_label_background_fill_selected="var(--raised)",
    checkbox_label_background_fill_selected_dark="var(--raised)",
    checkbox_label_text_color_selected="var(--ink)",
    checkbox_label_text_color_selected_dark="var(--ink)",
    input_background_fill="var(--raised)",
    input_background_fill_dark="var(--raised)",
)
