"""Recognizers as papers and public files describe them, written again on plain functions: the oracle of the
imports. A net here is a dictionary of tensors under its authors' names, and a function of it.
"""

import math

import torch
import torch.nn.functional as F


class Drawn(dict):
    """Tensors by name, drawn when a forward pass asks for them first: the pass itself says which there are."""

    def __init__(self, seed, eps=1e-5):
        super().__init__()
        self.generator, self.eps, self.x = torch.Generator().manual_seed(seed), eps, None

    def draw(self, name, *shape, mean=0.0, std=1.0):
        if name not in self:
            self[name] = mean + std * torch.randn(*shape, generator=self.generator)
        return self[name]

    def conv(self, x, name, out, kernel=3, stride=1, groups=1, pad=None, bias=False):
        kh, kw = kernel if isinstance(kernel, tuple) else (kernel, kernel)
        c_in = x.shape[1] // groups
        weight = self.draw(f"{name}.weight", out, c_in, kh, kw, std=math.sqrt(1 / (c_in * kh * kw)))
        offset = self.draw(f"{name}.bias", out, std=0.1) if bias else None
        pad = (kh // 2, kw // 2) if pad is None else pad
        return F.conv2d(x, weight, offset, stride, pad, 1, groups)

    def linear(self, x, name, out, bias=True):
        weight = self.draw(f"{name}.weight", out, x.shape[-1], std=math.sqrt(1 / x.shape[-1]))
        return F.linear(x, weight, self.draw(f"{name}.bias", out, std=0.1) if bias else None)

    def norm(self, x, name, affine=True, eps=None):
        c = x.shape[1]
        mean = self.draw(f"{name}.running_mean", c, std=0.1)
        if f"{name}.running_var" not in self:
            self[f"{name}.running_var"] = 0.5 + torch.rand(c, generator=self.generator)
        self.setdefault(f"{name}.num_batches_tracked", torch.tensor(7))
        shape = [1, -1] + [1] * (x.ndim - 2)
        y = (x - mean.view(shape)) / torch.sqrt(self[f"{name}.running_var"].view(shape) + (eps or self.eps))
        if affine:
            gain = self.draw(f"{name}.weight", c, mean=1, std=0.1).view(shape)
            y = y * gain + self.draw(f"{name}.bias", c, std=0.1).view(shape)
        return y

    def prelu(self, x, name):
        slope = self.draw(f"{name}.weight", x.shape[1], mean=0.25, std=0.05).view(1, -1, 1, 1)
        return torch.where(x > 0, x, slope * x)

    def layer_norm(self, x, name, eps):
        y = (x - x.mean(-1, keepdim=True)) / torch.sqrt(x.var(-1, unbiased=False, keepdim=True) + eps)
        return y * self.draw(f"{name}.weight", x.shape[-1], mean=1, std=0.1) + self.draw(
            f"{name}.bias", x.shape[-1], std=0.1
        )


def iresnet(n, x, units, unit=None, tail=True, width=64, stem=1, emb=512):
    """arcface_torch, MagFace, F-SKD."""
    x = n.prelu(n.norm(n.conv(x, "conv1", width, 3, stem), "bn1"), "prelu")
    for stage, count in enumerate(units, 1):
        for k in range(count):
            name, out, stride = f"layer{stage}.{k}", width * 2 ** (stage - 1), 2 if k == 0 else 1
            y = n.conv(n.norm(x, f"{name}.bn1"), f"{name}.conv1", out)
            y = n.conv(n.prelu(n.norm(y, f"{name}.bn2"), f"{name}.prelu"), f"{name}.conv2", out, 3, stride)
            y = n.norm(y, f"{name}.bn3")
            if unit is not None:
                y = unit(n, y, name)
            if k == 0:
                x = n.norm(n.conv(x, f"{name}.downsample.0", out, 1, stride), f"{name}.downsample.1")
            x = x + y
    if not tail:
        return x.mean((2, 3))
    return n.norm(n.linear(n.norm(x, "bn2").flatten(1), "fc", emb), "features")


def hinted(n, x, units, width=64, **size):
    """F-SKD's student: 1x1 hints that only its training uses."""
    for stage in range(1, 5):
        c = width * 2 ** (stage - 1)
        n.norm(n.conv(torch.zeros(1, c, 1, 1), f"hint_layer{stage}.hint", c, 1), f"hint_layer{stage}.bn")
    return iresnet(n, x, units, tail=False, width=width, **size)


def cbam_unit(n, y, name):
    """CBAM (Woo et al.): a shared MLP on mean and maximum, then a 7x7 convolution over (maximum, mean)."""
    c, base = y.shape[1], f"{name}.attention"
    gates = 0
    for pooled in (y.mean((2, 3)), y.amax((2, 3))):
        hidden = F.relu(n.linear(pooled, f"{base}.ChannelGate.mlp.1", max(1, c // 16)))
        gates = gates + n.linear(hidden, f"{base}.ChannelGate.mlp.3", c)
    y = y * torch.sigmoid(gates)[:, :, None, None]
    maps = torch.stack([y.amax(1), y.mean(1)], 1)
    gate = n.norm(n.conv(maps, f"{base}.SpatialGate.spatial.conv", 1, 7), f"{base}.SpatialGate.spatial.bn")
    return y * torch.sigmoid(gate)


def fskd_cbam(n, x, units, **size):
    return iresnet(n, x, units, cbam_unit, **size)


def askd(n, x, units, width=64, stem=1, emb=512):
    """A-SKD (Shin et al., ECCV 2022): gates without biases; the spatial one 3x3 over (mean, maximum)."""
    x = n.prelu(n.norm(n.conv(x, "input_layer.0", width, 3, stem), "input_layer.1"), "input_layer.2")
    for stage, count in enumerate(units, 1):
        for k in range(count):
            name, out, stride = f"layer{stage}.{k}", width * 2 ** (stage - 1), 2 if k == 0 else 1
            y = n.conv(n.norm(x, f"{name}.res_layer.0"), f"{name}.res_layer.1", out)
            y = n.prelu(n.norm(y, f"{name}.res_layer.2"), f"{name}.res_layer.3")
            y = n.norm(n.conv(y, f"{name}.res_layer.4", out, 3, stride), f"{name}.res_layer.5")
            gates = 0
            for pooled in (y.mean((2, 3), keepdim=True), y.amax((2, 3), keepdim=True)):
                hidden = F.relu(n.conv(pooled, f"{name}.channel_layer.shared_mlp.0", max(1, out // 16), 1))
                gates = gates + n.conv(hidden, f"{name}.channel_layer.shared_mlp.2", out, 1)
            y = y * torch.sigmoid(gates)
            maps = torch.stack([y.mean(1), y.amax(1)], 1)
            y = y * torch.sigmoid(n.conv(maps, f"{name}.spatial_layer.conv", 1, 3))
            if k == 0:
                x = n.norm(n.conv(x, f"{name}.shortcut_layer.0", out, 1, stride), f"{name}.shortcut_layer.1")
            x = x + y
    y = n.linear(n.norm(x, "output_layer.0").flatten(1), "output_layer.3", emb)
    return n.norm(y, "output_layer.4")


def ir(n, x, units, middle, affine, squeeze="", width=64, stem=1, emb=512):
    """AdaFace and CVLface (``middle``), CurricularFace and FaceX-Zoo (not); units are numbered through."""
    x = n.prelu(n.norm(n.conv(x, "input_layer.0", width, 3, stem), "input_layer.1"), "input_layer.2")
    number = 0
    for stage, count in enumerate(units):
        for k in range(count):
            base, out, stride = f"body.{number}", width * 2**stage, 2 if k == 0 else 1
            at = iter(range(9))
            y = n.norm(x, f"{base}.res_layer.{next(at)}")
            y = n.conv(y, f"{base}.res_layer.{next(at)}", out)
            y = n.norm(y, f"{base}.res_layer.{next(at)}") if middle else y
            y = n.prelu(y, f"{base}.res_layer.{next(at)}")
            y = n.conv(y, f"{base}.res_layer.{next(at)}", out, 3, stride)
            y = n.norm(y, f"{base}.res_layer.{next(at)}")
            if squeeze:
                gate = f"{base}.res_layer.{squeeze}"
                hidden = F.relu(n.conv(y.mean((2, 3), keepdim=True), f"{gate}.fc1", max(1, out // 16), 1))
                y = y * torch.sigmoid(n.conv(hidden, f"{gate}.fc2", out, 1))
            if x.shape[1] == out:
                x = x[:, :, ::stride, ::stride]
            else:
                x = n.norm(n.conv(x, f"{base}.shortcut_layer.0", out, 1, stride), f"{base}.shortcut_layer.1")
            x, number = x + y, number + 1
    y = n.linear(n.norm(x, "output_layer.0").flatten(1), "output_layer.3", emb)
    return F.normalize(n.norm(y, "output_layer.4", affine))


def lrfr(n, x, units, bottleneck=False, width=64, stem=1, emb=512):
    """hurricanelx/LRFR: a plain ResNet with ReLU, a max-pool and an output_layer."""
    x = F.max_pool2d(F.relu(n.norm(n.conv(x, "conv1", width, 3, stem), "bn1")), 3, 2, 1)
    grow = 4 if bottleneck else 1
    for stage, count in enumerate(units):
        for k in range(count):
            name, c = f"layer{stage + 1}.{k}", width * 2**stage
            stride = 2 if k == 0 and stage else 1
            if bottleneck:
                y = F.relu(n.norm(n.conv(x, f"{name}.conv1", c, 1), f"{name}.bn1"))
                y = F.relu(n.norm(n.conv(y, f"{name}.conv2", c, 3, stride), f"{name}.bn2"))
                y = n.norm(n.conv(y, f"{name}.conv3", 4 * c, 1), f"{name}.bn3")
            else:
                y = F.relu(n.norm(n.conv(x, f"{name}.conv1", c, 3, stride), f"{name}.bn1"))
                y = n.norm(n.conv(y, f"{name}.conv2", c), f"{name}.bn2")
            if stride != 1 or x.shape[1] != c * grow:
                x = n.norm(n.conv(x, f"{name}.downsample.0", c * grow, 1, stride), f"{name}.downsample.1")
            x = F.relu(x + y)
    y = n.linear(n.norm(x, "output_layer.0").flatten(1), "output_layer.3", emb)
    return F.normalize(n.norm(y, "output_layer.4"))


def mobilefacenet(n, x, blocks=(1, 4, 6, 2), scale=2, emb=512):
    """arcface_torch's MobileFaceNet."""

    def block(x, name, out, kernel=1, stride=1, groups=1, linear=False, pad=None):
        y = n.norm(n.conv(x, f"{name}.layers.0", out, kernel, stride, groups, pad), f"{name}.layers.1")
        return y if linear else n.prelu(y, f"{name}.layers.2")

    def unit(x, name, out, hidden, stride):
        y = block(x, f"{name}.layers.0", hidden)
        y = block(y, f"{name}.layers.1", hidden, 3, stride, hidden)
        return block(y, f"{name}.layers.2", out, linear=True)

    def row(x, name, count, hidden):
        for k in range(count):
            x = x + unit(x, f"{name}.layers.{k}", x.shape[1], hidden, 1)
        return x

    narrow, wide = 64 * scale, 128 * scale
    x = block(x, "layers.0", narrow, 3, 2)
    x = block(x, "layers.1", narrow, 3, 1, 64) if blocks[0] == 1 else row(x, "layers.1", blocks[0], 128)
    x = row(unit(x, "layers.2", narrow, 128, 2), "layers.3", blocks[1], 128)
    x = row(unit(x, "layers.4", wide, 256, 2), "layers.5", blocks[2], 256)
    x = row(unit(x, "layers.6", wide, 512, 2), "layers.7", blocks[3], 256)
    x = block(block(x, "conv_sep", 512), "features.layers.0", 512, 7, 1, 512, True, 0)
    return n.norm(n.linear(x.flatten(1), "features.layers.2", emb, False), "features.layers.3")


def facex_mobilefacenet(n, x):
    """FaceX-Zoo's MobileFaceNet: the 1.2 M net under the names of InsightFace_Pytorch."""

    def block(x, name, out, kernel=1, stride=1, groups=1, linear=False, pad=None):
        y = n.norm(n.conv(x, f"{name}.conv", out, kernel, stride, groups, pad), f"{name}.bn")
        return y if linear else n.prelu(y, f"{name}.prelu")

    def unit(x, name, out, hidden, stride):
        y = block(x, f"{name}.conv", hidden)
        y = block(y, f"{name}.conv_dw", hidden, 3, stride, hidden)
        return block(y, f"{name}.project", out, linear=True)

    def row(x, name, count, hidden):
        for k in range(count):
            x = x + unit(x, f"{name}.model.{k}", x.shape[1], hidden, 1)
        return x

    x = block(block(x, "conv1", 64, 3, 2), "conv2_dw", 64, 3, 1, 64)
    x = row(unit(x, "conv_23", 64, 128, 2), "conv_3", 4, 128)
    x = row(unit(x, "conv_34", 128, 256, 2), "conv_4", 6, 256)
    x = row(unit(x, "conv_45", 128, 512, 2), "conv_5", 2, 256)
    x = block(block(x, "conv_6_sep", 512), "conv_6_dw", 512, 7, 1, 512, True, 0)
    return n.norm(n.linear(x.flatten(1), "linear", 512, False), "bn")


def facenet(n, x, units=(5, 10, 5), shrink=1, emb=512):
    """facenet-pytorch's InceptionResnetV1, with a classifier that embeds nothing."""
    n.eps = 1e-3

    def block(x, name, out, kernel=1, stride=1, pad=0):
        return F.relu(n.norm(n.conv(x, f"{name}.conv", out // shrink, kernel, stride, 1, pad), f"{name}.bn"))

    def joined(x, name, parts, scale, last=False):
        y = n.conv(torch.cat(parts, 1), f"{name}.conv2d", x.shape[1], 1, bias=True) * scale + x
        return y if last else F.relu(y)

    def cross(x, name, w, k, scale, last=False):
        y = block(x, f"{name}.branch1.0", w)
        y = block(y, f"{name}.branch1.1", w, (1, k), 1, (0, k // 2))
        y = block(y, f"{name}.branch1.2", w, (k, 1), 1, (k // 2, 0))
        return joined(x, name, [block(x, f"{name}.branch0", w), y], scale, last)

    x = block(block(block(x, "conv2d_1a", 32, 3, 2), "conv2d_2a", 32, 3), "conv2d_2b", 64, 3, 1, 1)
    x = block(block(F.max_pool2d(x, 3, 2), "conv2d_3b", 80), "conv2d_4a", 192, 3)
    x = block(x, "conv2d_4b", 256, 3, 2)
    for k in range(units[0]):
        name = f"repeat_1.{k}"
        one = block(block(x, f"{name}.branch1.0", 32), f"{name}.branch1.1", 32, 3, 1, 1)
        two = block(block(x, f"{name}.branch2.0", 32), f"{name}.branch2.1", 32, 3, 1, 1)
        two = block(two, f"{name}.branch2.2", 32, 3, 1, 1)
        x = joined(x, name, [block(x, f"{name}.branch0", 32), one, two], 0.17)
    y = block(block(x, "mixed_6a.branch1.0", 192), "mixed_6a.branch1.1", 192, 3, 1, 1)
    y = block(y, "mixed_6a.branch1.2", 256, 3, 2)
    x = torch.cat([block(x, "mixed_6a.branch0", 384, 3, 2), y, F.max_pool2d(x, 3, 2)], 1)
    for k in range(units[1]):
        x = cross(x, f"repeat_2.{k}", 128, 7, 0.1)
    zero = block(block(x, "mixed_7a.branch0.0", 256), "mixed_7a.branch0.1", 384, 3, 2)
    one = block(block(x, "mixed_7a.branch1.0", 256), "mixed_7a.branch1.1", 256, 3, 2)
    two = block(block(x, "mixed_7a.branch2.0", 256), "mixed_7a.branch2.1", 256, 3, 1, 1)
    two = block(two, "mixed_7a.branch2.2", 256, 3, 2)
    x = torch.cat([zero, one, two, F.max_pool2d(x, 3, 2)], 1)
    for k in range(units[2]):
        x = cross(x, f"repeat_3.{k}", 192, 3, 0.2)
    x = cross(x, "block8", 192, 3, 1.0, True).mean((2, 3))
    y = n.norm(n.linear(x, "last_linear", emb, False), "last_bn")
    n.linear(y, "logits", 100)
    return F.normalize(y)


LANDMARKS = (
    (38.2946, 51.6963),
    (73.5318, 51.5014),
    (56.0252, 71.7366),
    (41.5493, 92.3655),
    (70.7299, 92.2041),
)


def key_point_biases(n, side, heads, depth):
    """CVLface's KP-RPE of an aligned face, block by block: ``[heads, T, T]`` by query and key."""

    def bucket(distance):
        if abs(distance) <= 1.9:
            return distance + 3
        far = round(1.9 + 1.9 * math.log(abs(distance) / 1.9) / math.log(8))
        return int(math.copysign(min(far, 3), distance)) + 3

    places = [(row, column) for row in range(side) for column in range(side)]
    offsets = [
        [value for x, y in LANDMARKS for value in ((c + 0.5) / side - x / 112, (r + 0.5) / side - y / 112)]
        for r, c in places
    ]
    values = n.linear(torch.tensor(offsets), "keypoint_linear", depth * heads * 49)
    chosen = torch.tensor([[7 * bucket(r - s) + bucket(c - d) for s, d in places] for r, c in places])
    for block in range(depth):
        firsts = [49 * (block * heads + head) for head in range(heads)]
        yield torch.stack([values[torch.arange(side**2)[:, None], first + chosen] for first in firsts])


def vit(n, x, patch, dim, depth, heads, ratio, token=False, emb=512, points=False):
    """arcface_torch and CVLface (ReLU6, flat tail), with KP-RPE or not, and timm (GELU, class token)."""
    eps = 1e-6 if token else 1e-5
    x = n.conv(x, "patch_embed.proj", dim, patch, patch, pad=0, bias=True)
    x = x.flatten(2).transpose(1, 2)
    if token:
        x = torch.cat([n.draw("cls_token", 1, 1, dim).expand(len(x), -1, -1), x], 1)
        n.linear(x[:, 0], "head", 10)
    elif not points:
        n.draw("mask_token", 1, 1, dim)
    x = x + n.draw("pos_embed", 1, x.shape[1], dim, std=0.5)
    biases = list(key_point_biases(n, 112 // patch, heads, depth)) if points else [0] * depth
    for k in range(depth):
        name = f"blocks.{k}"
        y = n.linear(n.layer_norm(x, f"{name}.norm1", eps), f"{name}.attn.qkv", 3 * dim, token)
        q, k_, v = (part.unflatten(2, (heads, -1)).transpose(1, 2) for part in y.split(dim, 2))
        weights = torch.softmax(q @ k_.transpose(2, 3) / math.sqrt(dim // heads) + biases[k], -1)
        x = x + n.linear((weights @ v).transpose(1, 2).flatten(2), f"{name}.attn.proj", dim)
        y = n.linear(n.layer_norm(x, f"{name}.norm2", eps), f"{name}.mlp.fc1", int(dim * ratio))
        y = 0.5 * y * (1 + torch.erf(y / math.sqrt(2))) if token else y.clamp(0, 6)
        x = x + n.linear(y, f"{name}.mlp.fc2", dim)
    x = n.layer_norm(x, "norm", eps)
    if token:
        return x[:, 0]
    y = n.norm(n.linear(x.flatten(1), "feature.0", dim, False), "feature.1", eps=2e-5)
    return n.norm(n.linear(y, "feature.2", emb, False), "feature.3", eps=2e-5)
