"""Figures: the layout of frames, the axes that are returned, and the alternative text."""

import base64
import inspect
import io
from pathlib import Path

import IPython.display
import matplotlib

matplotlib.use("Agg")
import matplotlib.pyplot as plt
import numpy as np
import pytest
import torch
from bs4 import BeautifulSoup
from PIL import Image
from unbraid.checks import SettingsError
from unbraid.figures import films, plots
from unbraid.figures.images import HAND, Hand


@pytest.fixture(autouse=True)
def clean():
    with matplotlib.rc_context():
        yield
    plt.close("all")


@pytest.fixture
def shown(monkeypatch):
    """What was displayed: a list of (data, keywords)."""
    calls = []

    def display(data, **keywords):
        calls.append((data, keywords))

    monkeypatch.setattr(IPython.display, "display", display)
    return calls


def read_image(shown):
    """The image that was displayed: its element, the kind of its data, and these."""
    image = BeautifulSoup(shown[-1][0]["text/html"], "html.parser").img
    kind, content = image["src"].split(",")
    return image, kind, base64.b64decode(content)


def read_film(shown):
    """The film that was displayed, and the still that can take its place."""
    images = BeautifulSoup(shown[-1][0]["text/html"], "html.parser").find_all("img")
    film, still = map(open_source, images)
    assert [image.has_attr("hidden") for image in images] == [False, True]
    assert images[0]["alt"] == images[1]["alt"]
    return film, still


DRAWN = []


def draw_steps(step=2, frames=3):
    """A figure with so many steps, and a film."""
    DRAWN.append((step, frames))
    figure, ax = plt.subplots(figsize=(3, 2))
    ax.plot(np.arange(0, 10, step))
    plots.show(figure, "00.digits")
    films.film(np.random.rand(1, frames, 1, 20, 20), f"A film of {frames} frames.")


CONTROLS = {"step": {"two": 2, "five": 5}, "frames": (1, 9)}


def test_where_nobody_can_move_a_control_prepared_pictures_can_be_chosen(shown):
    DRAWN.clear()
    films.explore(draw_steps, [{"step": 5}, {"frames": 4}], **CONTROLS)
    assert DRAWN == [(5, 3), (2, 4), (2, 3)]  # its own last: the cells below go on with it
    (data, _) = shown.pop()
    page = BeautifulSoup(data["text/html"], "html.parser").find(class_="hand")
    labels = [label.text.strip() for label in page.find_all("label", recursive=False)]
    assert labels == ["step: two, frames: 3", "step: five, frames: 3", "step: two, frames: 4"]
    buttons = page.find_all("input", type="radio")
    assert [button.has_attr("checked") for button in buttons] == [True, False, False]
    assert {button["name"] for button in buttons} == {"draw_steps"}
    views = [view.find_all("img") for view in page.find_all("div", recursive=False)]
    assert [len(images) for images in views] == [3, 3, 3]  # a figure, a film and its still

    usual, *others = [[open_source(image) for image in images] for images in views]
    draw_steps()
    assert usual[0].tobytes() == open_source(read_image(shown[:1])[0]).tobytes()
    assert data["image/png"] == shown[0][0]["image/png"] and not shown[2:]
    assert [images[1].n_frames for images in (usual, *others)] == [3, 3, 4]
    small = [len(image.convert("RGB").getcolors()) for images in others for image in images]
    assert max(small) <= 64

    alts = [images[0]["alt"] for images in views]
    assert alts[1] == f"Another choice, step: five, frames: 3, than this: {alts[0]}"
    assert views[2][1]["alt"] == "A film of 4 frames."  # which the page has written itself


def open_source(image):
    """The picture of an element."""
    return Image.open(io.BytesIO(base64.b64decode(image["src"].split(",")[1])))


def test_a_control_that_is_moved_redraws_at_once_in_one_size(shown, monkeypatch):
    given = []
    monkeypatch.setattr(films, "is_watched", lambda: True)
    monkeypatch.setattr(
        "ipywidgets.interact", lambda draw, **controls: given.append((draw, controls))
    )
    films.explore(draw_steps, [{"step": 5}], **CONTROLS)
    ((redraw, controls),) = given
    assert controls == CONTROLS and inspect.signature(redraw) == inspect.signature(draw_steps)
    for step in (2, 5):
        redraw(step=step, frames=3)
    pages = [BeautifulSoup(data["text/html"], "html.parser").find_all("img") for data, _ in shown]
    assert [len(images) for images in pages] == [3, 3]  # shown together, or the page would jump
    assert {open_source(images[0]).size for images in pages} == {(600, 400)}
    alts = [images[0]["alt"] for images in pages]
    assert alts[1] == f"Another choice, step: five, than this: {alts[0]}"
    with pytest.raises(ZeroDivisionError):
        redraw(step=0, frames=3)
    assert HAND.get() == Hand()


def words(ticks):
    return [tick.get_text() for tick in ticks]


def test_a_figure_is_shown_as_png_with_its_alternative_text_and_closed(shown):
    figure, _ = plt.subplots(figsize=(1, 1))
    alt = 'An empty pair of axes, one inch wide, "x" < 1 & "y" > 0.'
    plots.show(figure, alt=alt)
    image, kind, png = read_image(shown)
    assert image["alt"] == alt and alt in shown[0][0]["text/plain"]
    assert kind == "data:image/png;base64"
    assert Image.open(io.BytesIO(png)).width // 2 == int(image["width"])
    assert 80 < int(image["width"]) < 120  # an inch takes 100 pixels of the page
    small = base64.b64decode(shown[0][0]["image/png"])  # for what takes no HTML
    assert Image.open(io.BytesIO(small)).width == int(image["width"])
    assert not plt.fignum_exists(figure.number)


def test_a_film_has_a_picture_per_step_titles_above_and_a_still(shown):
    alt = "Two clips of three steps each, of noise."
    films.film(np.random.rand(2, 3, 1, 20, 20), alt, scale=2, titles=["one", "two"])
    image, (film, still) = read_image(shown)[0], read_film(shown)
    strip = np.asarray(film.convert("L"))[:-40]  # above the pictures
    assert (film.n_frames, film.size) == (3, (82, 58)) and film.info["loop"] == 0
    assert strip.max() > 150 and strip[:, 35:47].max() == 0  # white on black, in both themes
    assert image["width"] == "82" and image["alt"] == alt
    assert still.size == (82, 18 + 3 * 40 + 2 * 4)  # three frames below the titles


def test_a_still_shows_the_frames_that_are_named_below_each_other(shown):
    clips = np.zeros((1, 5, 1, 30, 60))
    clips[0, :, 0, 20:] = np.arange(5)[:, None, None] / 4  # the lower third: brighter and brighter
    films.film(clips, "A clip that gets brighter.", still=(1, 4))
    film, still = read_film(shown)
    bright = np.asarray(still.convert("L"))[:, 200]
    assert still.size == (240, 120 + 4 + 120) and film.n_frames == 5
    assert abs(bright[100] - 63) < 5 and bright[[121, 240]].min() > 250  # white between and at last


@pytest.mark.parametrize("still, most", ((None, "9"), (0, "9"), (3, "2")))
def test_an_animation_shows_each_figure_once_a_round(shown, monkeypatch, still, most):
    """The still is among its pictures, also where the environment limits them."""
    monkeypatch.setenv("UNBRAID_FILM_FRAMES", most)
    drawn = []

    def draw(number):
        drawn.append(number)
        figure, ax = plt.subplots(figsize=(2, 1))
        ax.bar([0, 1], [number, 3])
        ax.set(ylim=(0, 3), title="x" * number)  # a tight cut would change from figure to figure
        return figure

    films.animate(draw, 4, "A bar that grows from zero to three.", still=still)
    film, picture = read_film(shown)
    count = min(4, int(most))
    assert drawn == [*range(count)] and film.n_frames == count and not plt.get_fignums()
    assert film.size == (200, 100) and film.info["loop"] == 0
    assert np.asarray(film.convert("RGB"))[0, 0].min() > 250  # white stays white
    film.seek(count - 1 if still is None else min(still, count - 1))
    ends = [np.asarray(image.convert("L"), dtype=float) for image in (film, picture)]
    assert np.abs(ends[0] - ends[1]).mean() < 1


def test_the_environment_limits_a_film(shown, monkeypatch):
    monkeypatch.setenv("UNBRAID_FILM_FRAMES", "2")
    films.film(np.random.rand(1, 5, 1, 20, 20), "A clip of five frames of noise.", still=(0, 3, 4))
    film, still = read_film(shown)
    assert film.n_frames == 2 and still.size == (80, 80 + 4 + 80)  # its first and its last


def test_a_key_stands_for_a_sentence_of_the_notebooks(shown, monkeypatch, tmp_path):
    words = '[alt]\nmatrix = """\nTwo bright blocks\non a diagonal."""\n'
    (tmp_path / "13.toml").write_text(words)
    monkeypatch.chdir(tmp_path)
    plots.show(plt.figure(), "13.matrix")
    assert read_image(shown)[0]["alt"] == "Two bright blocks on a diagonal."
    with pytest.raises(ValueError, match="^alt:"):
        plots.show(plt.figure(), "13.none")


def test_a_drawing_is_found_from_its_notebooks_and_from_elsewhere(shown, monkeypatch, tmp_path):
    notebooks = Path(__file__).resolve().parents[1] / "notebooks"
    for folder in (notebooks, tmp_path):
        monkeypatch.chdir(folder)
        plots.show_svg("figures/11_graphs.svg", 'The "graphs" of a model.', width=300)
        image, kind, content = read_image(shown)
        assert image["alt"] == 'The "graphs" of a model.' and image["width"] == "300"
        assert kind == "data:image/svg+xml;base64"
        assert content == (notebooks / "figures/11_graphs.svg").read_bytes()


def test_what_cannot_be_shown_is_refused(shown, tmp_path):
    clips, path = np.zeros((2, 3, 1, 4, 4)), tmp_path / "boxes.svg"
    path.write_text("<svg></svg>")  # browsers draw nothing
    for field, call in {
        "alt": lambda: plots.show(plt.figure(), alt="a heat map"),
        "titles": lambda: films.film(clips, "Two black clips.", titles=["one"]),
        "frames": lambda: plots.picture(np.zeros((3, 4, 4))),
        "frames: expected values": lambda: plots.picture(np.full((1, 3, 4, 4), 200, np.uint8)),
        "labels": lambda: plots.grid(clips, labels=["one"]),
        "matrix": lambda: plots.heatmap(np.zeros(3)),
        "limits": lambda: plots.leakage(np.zeros((2, 2)), np.zeros((3, 3, 2))),
        "p_values": lambda: plots.leakage(np.zeros((2, 2)), None, np.zeros((3, 2))),
        "still": lambda: films.film(clips, "Two black clips.", still=(-1,)),
        "still: .* 0 to 2": lambda: films.film(clips, "Two black clips.", still=(0, 3)),
        "still: .* 0 to 1": lambda: films.animate(plt.figure, 2, "Two figures.", still=2),
        str(path): lambda: plots.show_svg(path, "One box with a letter in it."),
    }.items():
        with pytest.raises(ValueError, match=f"^{field}"):
            call()
    with pytest.raises(FileNotFoundError, match="figures/11_none.svg"):
        plots.show_svg("figures/11_none.svg", "The graphs of a model.")
    assert not shown


def see_without_green_cones(names):
    """Colours (N, 3) in deuteranopia as Machado, Oliveira and Fernandes (2009) simulate it."""
    matrix = [[0.367, 0.861, -0.228], [0.280, 0.673, 0.047], [-0.012, 0.043, 0.969]]
    colours = np.array([matplotlib.colors.to_rgb(name) for name in names])
    return (colours @ np.asarray(matrix).T).clip(0, 1)


def test_colours_are_apart_for_everybody():
    plots.use_style()
    cycle = [entry["color"] for entry in matplotlib.rcParams["axes.prop_cycle"]][:4]
    for names, least in ((plots.DIGITS, 0.8), ((plots.STATIC, plots.DYNAMIC), 0.5), (cycle, 0.1)):
        seen = see_without_green_cones(names)
        gaps = np.linalg.norm(seen[:, None] - seen, axis=-1)
        assert (gaps + 9 * np.eye(len(names)) > least).all()
    planes = np.eye(2, dtype=np.float32)[:, :, None, None]  # one frame per digit, one pixel
    first, second = plots.picture(planes)[0, ::2] @ [0.299, 0.587, 0.114]
    assert first > second + 0.15  # the lightness, which is all that a grey print keeps


def test_a_misspelt_profile_of_a_notebook_is_refused_by_its_first_cell():
    with pytest.raises(SettingsError, match="^profile: expected one of smoke, quick, full"):
        plots.use_style("quik")


def test_frames_are_laid_out_row_by_row():
    frames = torch.stack([torch.full((3, 2, 4), value / 10) for value in range(1, 7)])
    image = plots.picture(frames, rows=2)
    assert image.shape == (2 * 2 + 1, 3 * 4 + 2, 3)
    corners = image[[0, 0, 0, 3, 3, 3], [0, 5, 10, 0, 5, 10], 0]
    assert np.allclose(corners, [0.1, 0.2, 0.3, 0.4, 0.5, 0.6])
    assert (image[2] == 1).all() and (image[:, 4] == 1).all()  # gaps
    assert plots.picture(np.array([[[[7.0]], [[-7.0]], [[0.5]]]])).tolist() == [[[1, 0, 0.5]]]


def test_a_grid_has_a_row_a_sequence():
    given = plt.subplots()[1]
    ax = plots.grid(torch.rand(3, 4, 1, 8, 8), labels=("a", "b", "c"), ax=given)
    assert ax is given and ax.get_xlabel() == "frame"
    assert words(ax.get_xticklabels()) == [*"1234"] and words(ax.get_yticklabels()) == [*"abc"]
    assert ax.images[0].get_array().shape == (3 * 8 + 2, 4 * 8 + 3, 3)
    for row, middle in enumerate(ax.get_yticks()):
        assert 9 * row <= middle + 0.5 <= 9 * row + 8  # within each row's pixels


def test_a_heat_map_writes_its_numbers_and_names_its_unit():
    values = [[0.0, -1.25], [np.nan, 3.0]]
    ax = plots.heatmap(values, rows="ab", columns="cd", unit="bits", high=3, digits=1)
    assert (ax.get_xlim(), ax.get_ylim()) == ((-0.5, 1.5), (1.5, -0.5))  # half a cell to each side
    assert sorted(words(ax.texts)) == ["0.0", "3.0", "−1.2"]
    assert ax.figure.axes[1].get_ylabel() == "bits" and words(ax.get_xticklabels()) == ["c", "d"]
    assert ax.texts[0].get_color() != ax.texts[2].get_color()  # on the darkest, on the brightest
    signed = plots.heatmap([[-0.2, 0.7]], high=0.7, digits=None, diverging=True)
    assert not signed.texts and signed.collections[0].norm.vmin == -0.7


def test_the_leakage_matrix_marks_what_may_be_chance():
    limits = np.array([[[0.1, 0.3], [0.7, 0.9]]])
    ax = plots.leakage([[0.2, 0.8]], limits, np.array([[0.5, 0.001]]), columns=("a", "b"))
    assert words(ax.texts) == ["(0.20)", "0.10 to 0.30", "0.80", "0.70 to 0.90"]
