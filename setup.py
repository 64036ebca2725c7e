"""Packaging of lrfr (metadata, entry point, extras and package data)."""

from pathlib import Path

from setuptools import find_packages, setup

HERE = Path(__file__).parent
VERSION = next(
    line.split('"')[1]
    for line in (HERE / "lrfr/__init__.py").read_text("utf-8").splitlines()
    if line.startswith("__version__")
)

setup(
    name="lrfr",
    version=VERSION,
    description="Degradation engine, HR/LR pair store, trainers and evaluator for low-resolution face "
    "recognition",
    long_description=(HERE / "README.md").read_text("utf-8"),
    long_description_content_type="text/markdown",
    license="Apache-2.0",
    python_requires=">=3.11",
    packages=find_packages(include=["lrfr", "lrfr.*"]),
    package_data={
        "lrfr": [
            "py.typed",
            "**/*.yaml",
            "**/*.npz",
            "**/*.safetensors",
            "**/*.json",
            "**/*.html",
            "**/*.css",
        ]
    },
    entry_points={"console_scripts": ["lrfr = lrfr.cli.main:main"]},
    install_requires=[
        "albumentations==2.0.8",
        "click>=8.1",
        "jinja2>=3.1",
        "lmdb>=3,<4",
        "matplotlib>=3.9",
        "numpy>=2",
        "opencv-python-headless>=4.13",
        "pillow>=11",
        "ptwt>=1.0",
        "pydantic>=2.9",
        "pywavelets>=1.6",
        "PyYAML>=6",
        "ray>=2.40",
        "rich>=13",
        "safetensors>=0.5",
        "scipy>=1.13",
        "torch>=2.6",
        "xxhash>=3.4",
    ],
    extras_require={
        "onnx": ["onnx>=1.17", "onnxruntime>=1.20", "onnxscript>=0.1"],
        "tensorboard": ["tensorboard>=2.17"],
        "dev": [
            "build",
            "hypothesis",
            "import-linter",
            "mypy",
            "onnx>=1.17",
            "onnxruntime>=1.20",
            "onnxscript>=0.1",
            "pytest",
            "pytest-cov",
            "pytest-timeout",
            "pytest-xdist",
            "ruff",
            "scikit-learn",
            "types-PyYAML",
        ],
    },
)
