"""Fits, checks of foreign landmarks, the choice of a face, the crop, the table, and the test for pictures that
are not aligned.
"""

import cv2
import numpy as np
import pytest

from lrfr.core.errors import SpecError
from lrfr.core.image import encode_png
from lrfr.core.landmarks import TEMPLATE, read_landmarks
from lrfr.pairs.align import unaligned
from lrfr.pairs.align.aligner import (
    AlignRules,
    Remark,
    align_images,
    align_photo,
    choose,
    cut_face,
    detect_faces,
)
from lrfr.pairs.align.checks import check_convention, check_landmarks, landmark_fault
from lrfr.pairs.align.detectors.base import Detections
from lrfr.pairs.align.landmark_fit import fit_landmarks
from lrfr.pairs.align.landmark_table import LandmarkRow, read_table, table_bytes
from lrfr.pairs.sources import synthetic_photos
from lrfr.pairs.sources.synthetic import render_face
from lrfr.pairs.sources.synthetic_photos import SyntheticPhotosSource, paste, photograph, place_of
from lrfr.pairs.sources.table import open_source


def _moved(turn_deg=0.0, scale=1.0, shift=(0.0, 0.0)):
    """The template's points, turned (clockwise), scaled and shifted by a plain rotation matrix."""
    a = np.radians(turn_deg)
    rotation = np.array([[np.cos(a), -np.sin(a)], [np.sin(a), np.cos(a)]])
    return (TEMPLATE - 56.0) @ rotation.T * scale + 56.0 * scale + np.array(shift)


class Fixed:
    """A detector that finds what it was told, where the picture is at least ``from_px`` wide."""

    name, revision, weights_sha256 = "fixed", 1, ""

    def __init__(self, points, boxes=None, from_px=0):
        self.points = np.asarray(points, float).reshape(-1, 5, 2)
        low, high = self.points.min(1), self.points.max(1)
        self.boxes = np.concatenate([low, high], axis=1) if boxes is None else np.asarray(boxes, float)
        self.from_px, self.seen = from_px, []

    def detect(self, image):
        self.seen.append(image.shape[1])
        if image.shape[1] < self.from_px:
            return Detections.none()
        return Detections(self.boxes, self.points, np.linspace(0.9, 0.8, len(self.points)))


# --- fit


def test_fit_measures_what_was_done_to_the_template():
    fit = fit_landmarks(_moved(20.0, 0.5, (30.0, 10.0)), 200, 200)
    assert fit.residual_px == pytest.approx(0.0, abs=1e-9)
    assert fit.turn_deg == pytest.approx(20.0) and fit.scale == pytest.approx(2.0)
    assert abs(fit.sideways) < 0.05 and fit.covered == pytest.approx(1.0, abs=1e-5)
    assert fit_landmarks(_moved(), 200, 200, 224).scale == pytest.approx(2.0)


def test_residual_is_the_root_mean_square_distance():
    points = TEMPLATE.copy()
    points[2] += [0.0, 9.0]
    # by hand: moving one of five points moves the fit little; the residual lies just below 9 / sqrt(5)
    assert 3.0 < fit_landmarks(points, 112, 112).residual_px < 9.0 / np.sqrt(5.0)


def test_sideways_follows_the_nose():
    points = TEMPLATE.copy()
    points[2, 0] += 17.6
    assert fit_landmarks(points, 112, 112).sideways == pytest.approx(1.0, abs=0.1)


@pytest.mark.parametrize("shift,share", [((-56.0, 0.0), 0.5), ((-56.0, -56.0), 0.25), ((-200.0, 0.0), 0.0)])
def test_covered_is_the_share_inside(shift, share):
    assert fit_landmarks(TEMPLATE + shift, 300, 300).covered == pytest.approx(share, abs=0.01)


# --- checks


def _set(count=64):
    rng = np.random.default_rng(0)
    return [
        _moved(rng.uniform(-20, 20), rng.uniform(0.5, 1.2), rng.uniform(60, 90, 2))
        + rng.normal(0, 1.5, (5, 2))
        for _ in range(count)
    ]


def test_good_landmarks_pass():
    points = _set()
    check_convention(points)
    assert {landmark_fault(item, 300, 300) for item in points} == {""}


_WRONG = {
    "left and right look swapped in 100% of 64 faces": lambda p: p[[1, 0, 2, 4, 3]],
    "y seems to stand before x in 100% of 64 faces": lambda p: p[:, ::-1],
    "values lie between 0 and 1 in 100% of 64 faces": lambda p: p / 300.0,
    "lie on their side in 100% of 64 faces": lambda p: p[[1, 0, 2, 4, 3]][:, ::-1],
}


@pytest.mark.parametrize("said", _WRONG)
def test_another_convention_is_named_once_for_all(said):
    points = [_WRONG[said](item) for item in _set()]
    with pytest.raises(SpecError) as caught:
        check_convention(points, "marks.txt")
    assert said in str(caught.value) and caught.value.file == "marks.txt" and caught.value.hint


def test_a_few_odd_faces_stop_nothing_and_are_refused_one_by_one():
    points = _set()
    points[:5] = [item[[1, 0, 2, 4, 3]] for item in points[:5]]
    check_convention(points)
    assert [bool(landmark_fault(item, 300, 300)) for item in points] == [True] * 5 + [False] * 59


def test_a_sample_is_spread_over_all():
    points = {f"{number:03d}": item for number, item in enumerate(_set(640))}
    flat = {key: tuple(item.ravel()) for key, item in points.items()}
    first = {key: tuple(item[:, ::-1].ravel()) for key, item in list(points.items())[:70]}
    check_landmarks(list(points), {**flat, **first}, "marks.txt")
    every = {key: tuple(item[:, ::-1].ravel()) for key, item in points.items()}
    with pytest.raises(SpecError, match="y seems to stand before x in 100% of 64 faces"):
        check_landmarks(list(points), every, "marks.txt")
    check_landmarks(list(points)[:7], every, "marks.txt")  # so few say nothing about the file
    with pytest.raises(SpecError, match="0 of 640 keys match"):
        check_landmarks(["a.jpg"], flat, "marks.txt")


@pytest.mark.parametrize(
    "points,word",
    [
        (np.full((5, 2), np.nan), "finite"),
        (np.full((5, 2), -1.0), "coincide"),
        (TEMPLATE + 400.0, "0% of the crop"),
        (_moved(scale=0.05, shift=(100, 100)), "enlarged"),
        (TEMPLATE[[2, 3, 0, 4, 1]], "px off a face"),
    ],
)
def test_a_face_that_cannot_be_used_says_why(points, word):
    assert word in landmark_fault(points, 300, 300)


# --- choice and crop


def test_the_largest_face_near_the_center_is_chosen():
    boxes = np.array([[0, 0, 60, 60], [80, 80, 120, 120], [150, 150, 190, 190.0]])
    found = Detections(boxes, np.zeros((3, 5, 2)), np.ones(3))
    worth = [60 * 60 - 2 * (70**2 + 70**2), 40 * 40, 40 * 40 - 2 * (70**2 + 70**2)]
    assert choose(found, 200, 200, "all") == sorted(range(3), key=lambda i: -worth[i])
    assert choose(found, 200, 200, "largest") == [1] == choose(found, 200, 200, "center")
    wide = Detections(np.array([[0, 0, 150, 150], [95, 95, 105, 105.0]]), np.zeros((2, 5, 2)), np.ones(2))
    assert choose(wide, 200, 200, "largest") == [0] and choose(wide, 200, 200, "center") == [1]


def test_a_small_false_find_in_the_middle_does_not_win_over_a_sure_face():
    boxes = np.array([[90.0, 90, 110, 110], [10, 10, 70, 70]])
    for scores, first in (([0.73, 0.999], 1), ([0.9, 0.999], 0), ([0.3, 0.35], 0)):
        found = Detections(boxes, np.zeros((2, 5, 2)), np.array(scores))
        assert choose(found, 200, 200, "center") == [first]
        assert choose(found, 200, 200, "all") == [first, 1 - first]


def test_a_crop_brings_the_landmarks_onto_the_template():
    image = np.full((300, 300, 3), 90, np.uint8)
    points = _moved(-15.0, 1.4, (60.0, 70.0))
    for (x, y), color in zip(points, np.eye(3, dtype=int)[[0, 1, 2, 0, 1]] * 255, strict=True):
        cv2.circle(image, (round(x), round(y)), 4, color.tolist(), -1)
    cut = cut_face(image, points, 112)
    for (x, y), channel in zip(TEMPLATE, [0, 1, 2, 0, 1], strict=True):
        rows, columns = np.mgrid[0:112, 0:112]
        near = np.hypot(columns - x, rows - y) < 8
        weight = np.clip(cut.crop[:, :, channel].astype(float) - 100, 0, None) * near
        assert (columns * weight).sum() / weight.sum() == pytest.approx(x, abs=0.7)
        assert (rows * weight).sum() / weight.sum() == pytest.approx(y, abs=0.7)


def test_landmarks_are_rounded_before_they_cut():
    image = np.random.default_rng(0).integers(0, 255, (200, 200, 3)).astype(np.uint8)
    first = cut_face(image, _moved(3.3333, 0.7777, (11.1111, 12.3456)), 64)
    again = cut_face(image, first.landmarks_5xy, 64)
    assert np.array_equal(first.crop, again.crop) and np.array_equal(first.landmarks_5xy, again.landmarks_5xy)


def test_remarks_carry_their_quantities():
    image = np.zeros((300, 300, 3), np.uint8)
    codes = {
        remark.code: remark.value
        for remark in cut_face(image, _moved(40.0, 0.5, (-30.0, 100.0)), 112).remarks
    }
    assert codes["turned"] == pytest.approx(40.0, abs=0.1) and codes["small"] == pytest.approx(2.0, abs=0.01)
    assert 0 < codes["cut-off"] < 0.98 and "sideways" not in codes
    two = align_photo(image, Fixed([_moved(shift=(90, 90)), _moved(scale=0.3)]), AlignRules())
    assert two[0].remarks == (Remark("several-faces", 2.0),)
    assert len(align_photo(image, Fixed([_moved(), _moved(scale=0.3)]), AlignRules(face="all"))) == 2


def test_small_pictures_are_looked_at_enlarged():
    points = _moved(scale=0.5, shift=(5.0, 6.0))
    found = Fixed((points + 0.5) * 3 - 0.5, from_px=250)
    assert np.allclose(detect_faces(np.zeros((90, 100, 3), np.uint8), found).landmarks_5xy[0], points)
    assert found.seen == [100, 200, 300]
    large = Fixed(points, from_px=10_000)
    assert len(detect_faces(np.zeros((400, 300, 3), np.uint8), large)) == 0 and large.seen == [300]


def test_what_would_be_refused_of_a_person_is_no_detection_either():
    picture = np.zeros((300, 300, 3), np.uint8)
    wrong = [_moved(scale=0.05, shift=(100, 100)), TEMPLATE[[2, 3, 0, 4, 1]], TEMPLATE + 400.0]
    good = _moved(shift=(50.0, 60.0))
    found = detect_faces(picture, Fixed([*wrong[:2], good, wrong[2]]))
    assert len(found) == 1 and np.allclose(found.landmarks_5xy[0], good)
    (kept,) = align_photo(picture, Fixed(wrong), AlignRules(on_miss="keep-center"))
    assert kept.remarks[0].code == "no-face" and not landmark_fault(kept.landmarks_5xy, 300, 300)


@pytest.mark.parametrize("side", [1, 3, 8, 9, 40])
def test_the_center_of_a_picture_of_any_size_is_taken_back(side):
    picture = np.zeros((side, side + 3, 3), np.uint8)
    (kept,) = align_photo(picture, Fixed(np.zeros((0, 5, 2))), AlignRules(on_miss="keep-center"))
    assert not landmark_fault(kept.landmarks_5xy, side, side + 3)


@pytest.mark.parametrize("size", [112, 64])
def test_a_kept_center_is_the_central_square(size):
    image = cv2.GaussianBlur(
        np.random.default_rng(0).integers(0, 255, (100, 160, 3)).astype(np.uint8), (0, 0), 4
    )
    done = align_photo(image, Fixed(np.zeros((0, 5, 2))), AlignRules(size, on_miss="keep-center"))[0]
    how = cv2.INTER_AREA if size < 100 else cv2.INTER_LINEAR
    plain = cv2.resize(image[:, 30:130], (size, size), interpolation=how)
    inner = slice(2, -2)
    assert np.abs(done.crop[inner, inner].astype(int) - plain[inner, inner]).max() <= 3
    assert done.score == 0.0 and done.remarks[0].code == "no-face"


def test_align_images_says_something_about_every_picture():
    pictures = [np.zeros((300, 300, 3), np.uint8), np.zeros((200, 250, 3), np.uint8)]
    done = align_images(pictures, detector=Fixed(_moved(shift=(50, 50)), from_px=300), size_px=64)
    assert [item.index for item in done] == [0, 1] and done[0].crop.shape == (64, 64, 3)
    assert done[1].crop is None and done[1].remarks == (Remark("no-face", 0.0),)
    with pytest.raises(SpecError, match="largest"):
        align_images(pictures, detector=Fixed([]), face="bigest")
    with pytest.raises(SpecError, match="on_miss"):
        align_images(pictures, detector=Fixed([]), on_miss="keep")
    with pytest.raises(SpecError, match="8 or more, got int 4"):
        align_images(pictures, detector=Fixed([]), size_px=4)


# --- the table


def test_the_table_comes_back_as_it_was(tmp_path):
    rows = [
        LandmarkRow("a b/ü.jpg", tuple(np.round(_moved().ravel(), 2)), 0.9876, (Remark("small", 2.07),)),
        LandmarkRow(
            "c.png", tuple(np.arange(10.0)), 0.0, (Remark("no-face", 0.0), Remark("several-faces", 3.0))
        ),
        LandmarkRow("c.png", tuple(np.arange(10.0) + 1), 0.5),
    ]
    path = tmp_path / "landmarks.tsv"
    path.write_bytes(table_bytes(rows))
    assert read_table(path) == {"a b/ü.jpg": rows[:1], "c.png": rows[1:]}
    assert path.read_text("utf-8").splitlines()[0].startswith("key\tx1\ty1\tx2")


def test_an_edited_table_may_be_short_and_hold_a_persons_words(tmp_path):
    path = tmp_path / "landmarks.tsv"
    header = table_bytes([]).decode()
    path.write_text(
        header
        + "a.jpg\t"
        + "\t".join("1234567890")
        + "\n\nb.jpg\t"
        + "\t".join("1234567890")
        + "\t\tlooks odd turned=-31.5\n"
    )
    found = read_table(path)
    assert found["a.jpg"][0].score == 1.0 and found["b.jpg"][0].remarks == (Remark("turned", -31.5),)
    path.write_text(header + "a.jpg\t" + "\t".join("12345678x0") + "\n")
    with pytest.raises(SpecError) as caught:
        read_table(path)
    assert caught.value.line == 2


def test_a_list_of_celebas_layout_is_read_too(tmp_path):
    path = tmp_path / "marks.txt"
    path.write_text("000001.jpg 69 109 106 113 77 142 73 152 108 154\n")
    assert read_table(path)["000001.jpg"][0].points[:2] == (69.0, 109.0)


# --- synthetic photographs


def test_known_landmarks_are_right_by_warping_back():
    """A crop cut by the known landmarks is the face that was pasted: that is what the landmarks mean."""
    for number in range(6):
        image, pasted = photograph(number, 0, 1)
        face = render_face(number, 0, 1)[0]
        back = cut_face(image, pasted.landmarks, 112).crop
        inner = slice(14, -14)
        near = np.abs(
            back[inner, inner].astype(float) - cv2.GaussianBlur(face, (0, 0), 1.0)[inner, inner]
        ).mean()
        off = [
            np.abs(np.roll(back, move, (0, 1))[inner, inner].astype(float) - face[inner, inner]).mean()
            for move in ((3, 0), (-3, 0), (0, 3), (0, -3))
        ]
        assert near < 9.0 and near < min(off)


def test_faces_lie_inside_their_photographs():
    for number in range(40):
        pasted = photograph(number, 1, 2)[1]
        corners = np.array([[0, 0], [1, 0], [0, 1], [1, 1]]) * pasted.face_px - 0.5
        moved = corners @ pasted.matrix[:, :2].T + pasted.matrix[:, 2]
        assert (moved >= -1.0).all() and (moved <= [pasted.width, pasted.height]).all()
        assert 40 <= pasted.face_px <= 200


def test_the_source_lists_reads_and_names_its_photographs():
    source = open_source("synthetic-photos:ids=2,per_id=3,seed=4")
    assert isinstance(source, SyntheticPhotosSource)
    faces = source.faces()
    assert len({face.key for face in faces}) == 6 and {face.label for face in faces} == {"p000000", "p000001"}
    first = source.read(faces[0].place)
    assert np.array_equal(first, source.read(faces[0].place)) and not np.array_equal(
        first, source.read(faces[1].place)
    )
    assert len({source.fingerprint(face.place) for face in faces}) == 6
    assert np.array_equal(source.landmarks(faces[0].place), photograph(0, 0, 4)[1].landmarks)
    with pytest.raises(SpecError, match="synthetic-photos"):
        open_source("synthetic-photos:id=2")


def test_photographs_keep_their_pixels():
    """A raised revision announces other pixels; these means of 4 x 4 fields are of revision 1."""
    image, pasted = photograph(0, 0, 0)
    means = cv2.resize(image, (4, 4), interpolation=cv2.INTER_AREA).mean(axis=2)
    assert synthetic_photos.REVISION == 1
    assert (image.shape, pasted.face_px) == ((393, 296, 3), 182)
    assert (
        np.abs(
            means
            - np.array(
                [
                    [116.7, 103.0, 80.0, 127.3],
                    [167.0, 146.3, 87.3, 98.3],
                    [119.7, 89.7, 63.0, 81.3],
                    [102.0, 110.3, 86.3, 139.7],
                ]
            )
        ).max()
        < 1.5
    )


def test_any_face_can_be_pasted():
    from lrfr.core.streams import stream

    place = place_of(stream(0, b"x", 0, "place"))
    background = np.zeros((place.height, place.width, 3), np.uint8)
    done = paste(np.full((112, 112, 3), 200, np.uint8), background, place)
    assert done.max() == 200 and background.max() == 0
    x, y = np.rint(place.landmarks[2]).astype(int)
    assert done[y, x].tolist() == [200] * 3


# --- pictures that are not aligned


def test_the_mean_face_is_that_of_the_embedded_faces():
    faces = [render_face(person, image, 0)[0] for person in range(64) for image in range(2)]
    with np.load(unaligned.MEAN_FACE) as held:
        assert np.abs(held["mean"].astype(int) - unaligned.mean_of(faces).astype(int)).max() <= 1


def test_aligned_faces_are_told_from_others():
    aligned = [render_face(person, 0, 9)[0] for person in range(24)]
    assert not unaligned.looks_unaligned(aligned)[0]
    small = [cv2.resize(face, (14, 14), interpolation=cv2.INTER_AREA) for face in aligned]
    assert not unaligned.looks_unaligned(small)[0]
    photographs = [photograph(person, 0, 9)[0] for person in range(24)]
    assert unaligned.looks_unaligned(photographs)[0]
    assert unaligned.looks_unaligned([np.rot90(face) for face in aligned])[0]
    assert unaligned.looks_unaligned([face[::-1] for face in aligned])[0]
    assert not unaligned.looks_unaligned(photographs[:7])[0], "so few say nothing"
    assert unaligned.looks_unaligned([]) == (False, 0.0)


def test_flat_pictures_resemble_nothing():
    assert unaligned.likeness(np.full((50, 50, 3), 90, np.uint8)) == pytest.approx(0.0, abs=1e-6)


def test_real_crops_are_told_from_real_crops_in_backgrounds(faces_dir):
    from lrfr.core.files import read_bytes
    from lrfr.core.image import decode
    from lrfr.core.streams import stream

    crops = [decode(read_bytes(path)) for path in sorted(faces_dir.glob("aligned/[LC]*/*.jpg"))[::200][:64]]
    assert not unaligned.looks_unaligned(crops)[0]
    pasted = []
    for number, crop in enumerate(crops):
        scene = stream(1, b"%d" % number, 0, "place")
        place = place_of(scene)
        pasted.append(paste(crop, synthetic_photos._background(scene, place), place))
    assert unaligned.looks_unaligned(pasted)[0]


def test_make_pairs_reads_the_same_table(tmp_path):
    points = tuple(np.round(_moved().ravel(), 2))
    rows = [LandmarkRow("a b.jpg", points, 0.9, (Remark("small", 2.0),)), LandmarkRow("a b.jpg", (1.0,) * 10)]
    (tmp_path / "landmarks.tsv").write_bytes(table_bytes(rows))
    assert read_landmarks(tmp_path / "landmarks.tsv") == {"a b.jpg": points}


def test_make_pairs_says_once_that_a_source_is_not_aligned(lrfr, tmp_path):
    for number in range(12):
        folder = tmp_path / "photos" / f"p{number}"
        folder.mkdir(parents=True)
        (folder / "0.png").write_bytes(encode_png(photograph(number, 0, 1)[0]))
        (tmp_path / "crops" / f"p{number}").mkdir(parents=True)
        (tmp_path / "crops" / f"p{number}" / "0.png").write_bytes(encode_png(render_face(number, 0, 1)[0]))
    code, out, err = lrfr("make-pairs", "--source", "photos", "--hr-only")
    assert code == 0 and (out + err).count("W_UNALIGNED") == 1
    code, out, err = lrfr("make-pairs", "--source", "crops", "--hr-only", "--store", "other")
    assert code == 0 and "W_UNALIGNED" not in out + err


def test_make_pairs_cuts_the_crops_of_align_and_stops_at_swapped_sides(lrfr, tmp_path):
    rows, wrong = [], []
    for number in range(10):
        image, pasted = photograph(number, 0, 1)
        (tmp_path / "photos").mkdir(exist_ok=True)
        (tmp_path / "photos" / f"{number}.png").write_bytes(encode_png(image))
        rows.append(LandmarkRow(f"{number}.png", tuple(np.round(pasted.landmarks.ravel(), 2))))
        wrong.append(LandmarkRow(f"{number}.png", tuple(pasted.landmarks[[1, 0, 2, 4, 3]].ravel())))
    (tmp_path / "landmarks.tsv").write_bytes(table_bytes(rows))
    (tmp_path / "wrong.tsv").write_bytes(table_bytes(wrong))
    code, out, _ = lrfr("make-pairs", "--source", "photos", "--align", "landmarks.tsv", "--hr-only")
    assert code == 0 and "10 faces" in out
    code, _, err = lrfr("make-pairs", "--source", "photos", "--align", "wrong.tsv", "--hr-only")
    assert code == 2 and "left and right look swapped in 100% of 10 faces" in err
