"""The peers of the degradation benchmark, each a function of the images that returns what to run."""
# ruff: noqa: D103 - contestants explain themselves

from __future__ import annotations

import cv2
import numpy as np
import torch

SIZES = (7, 14, 20, 28, 56)


def albumentations_chain(images):
    import albumentations as A

    chain = A.Compose(
        [
            A.OneOf(
                [
                    A.GaussianBlur(blur_limit=0, sigma_limit=(0.2, 3), p=1),
                    A.MotionBlur(blur_limit=(3, 15), p=1),
                ],
                p=0.5,
            ),
            A.OneOf(
                [
                    A.GaussNoise(std_range=(1 / 255, 30 / 255), p=1),
                    A.ShotNoise(scale_range=(1 / 128, 1 / 16), p=1),
                ],
                p=0.5,
            ),
            A.ImageCompression(quality_range=(30, 95), p=0.5),
            A.OneOf([A.Resize(size, size, interpolation=cv2.INTER_CUBIC, p=1) for size in SIZES], p=1),
        ],
        seed=1,
    )

    def run():
        for image in images:
            chain(image=image)

    return run


def basicsr_chain(images):
    """Return a chain in the manner of BasicSR: float32 images, numpy's generators, kernels made for each
    image.
    """
    generator = np.random.default_rng(1)

    def blur(image):
        if generator.random() < 0.5:
            sigma = generator.uniform(0.2, 3)
            reach = int(np.ceil(3 * sigma))
            y, x = np.mgrid[-reach : reach + 1, -reach : reach + 1]
            kernel = np.exp(-0.5 * (x**2 + y**2) / sigma**2)
        else:
            length = int(generator.choice([3, 5, 7, 9, 11, 13, 15]))
            kernel = np.zeros((length, length), np.float32)
            angle, half = generator.uniform(0, np.pi), length // 2
            ends = [
                (half + round(s * half * np.cos(angle)), half - round(s * half * np.sin(angle)))
                for s in (-1, 1)
            ]
            cv2.line(kernel, *ends, 1.0)
        return cv2.filter2D(image, -1, kernel / kernel.sum())

    def noise(image):
        if generator.random() < 0.5:
            return image + generator.normal(0, generator.uniform(1, 30), image.shape).astype(np.float32)
        photons = np.exp(generator.uniform(np.log(16), np.log(128)))
        return (generator.poisson(np.clip(image, 0, 255) / 255 * photons) / photons * 255).astype(np.float32)

    def compress(image):
        quality = int(generator.integers(30, 96))
        data = cv2.imencode(
            ".jpg", np.clip(image, 0, 255).astype(np.uint8)[:, :, ::-1], [cv2.IMWRITE_JPEG_QUALITY, quality]
        )[1]
        return cv2.imdecode(data, cv2.IMREAD_COLOR_RGB).astype(np.float32)

    def run():
        for original in images:
            image = original.astype(np.float32)
            for step in (blur, noise, compress):
                image = step(image) if generator.random() < 0.5 else image
            size = int(generator.choice(SIZES))
            np.clip(cv2.resize(image, (size, size), interpolation=cv2.INTER_CUBIC), 0, 255).round().astype(
                np.uint8
            )

    return run


def kornia_chain(images):
    """Return kornia's batch chain; it has no Poisson noise, so that half is Gaussian too."""
    import kornia.augmentation as K

    chain = K.AugmentationSequential(
        K.RandomGaussianBlur((19, 19), (0.2, 3.0), p=0.25),
        K.RandomMotionBlur((3, 15), 180.0, 0.0, border_type="reflect", p=0.25),
        K.RandomGaussianNoise(0.0, 16 / 255, p=0.5),
        K.RandomJPEG(jpeg_quality=(30.0, 95.0), p=0.5),
    )

    def run():
        for start in range(0, len(images), 32):
            batch = (
                torch.from_numpy(np.stack(images[start : start + 32]))
                .permute(0, 3, 1, 2)
                .contiguous()
                .float()
                / 255
            )
            with torch.no_grad():
                done = chain(batch)
                for index, size in enumerate(SIZES):
                    torch.nn.functional.interpolate(
                        done[index::5], size=(size, size), mode="bicubic", antialias=True
                    )

    return run


def albumentations_resize(images):
    import albumentations as A

    chain = A.Compose(
        [A.OneOf([A.Resize(size, size, interpolation=cv2.INTER_CUBIC, p=1) for size in SIZES], p=1)], seed=1
    )
    return lambda: [chain(image=image) for image in images]


def pillow_resize(images):
    from PIL import Image

    return lambda: [
        np.asarray(Image.fromarray(image).resize((SIZES[i % 5],) * 2, Image.Resampling.BICUBIC))
        for i, image in enumerate(images)
    ]
