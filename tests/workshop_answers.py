"""Right and wrong answers to the workshop editions.

Each is the lesson's own definition with one change: notebook, function, a piece of code that stands
there once, and what becomes of it. A wrong one has a part of what is said of it, too.
"""

ENCODE = "c = self.encoder(x.flatten(0, 1)).unflatten(0, x.shape[:2])"
REST = "rest = c[:, 1:] - anchor[:, None]"
JOIN = "inputs = torch.cat([fill(anchor)[:, None], rest], 1)"
KL = "return 0.5 * ((log_q - log_p).exp() + squared - 1 + log_p - log_q).sum(-1)"
DRAWS = "s, d = draw(q_s), draw(q_d)"
ERROR = "error = (self.decode(s, d) - x).square().flatten(2).sum(2)"

SEEN = "costs.append(kl(q, p).unflatten(1, (self.K, self.d)).sum(2))  # (B, K)"
PREDICT = "p = self.predict(codes[-1])  # predict"

MAPS = "return maps.unflatten(0, pairs.shape[:2]).mean(1)"
NATS = "error.flatten(1).sum(1)"

LOOP = (
    "each = [F.relu(self.pair(torch.cat([h[:, i], h[:, j]], 1)))"
    " for i in range(h.shape[1]) for j in range(h.shape[1]) if {}]\n        return {}"
)
MEAN = "torch.stack(each).mean(0)"
EPS = "torch.randn_like(q[0])"

EACH = "counts = [find_box(i, x, y, k)[2:] for i in range(len(x))]"
TREES = """from scipy.spatial import cKDTree
    joint = np.hstack([x, y])
    radius = cKDTree(joint).query(joint, k + 1, p=np.inf)[0][:, k]
    radius, counts = np.nextafter(radius, 0), []
    for code in (x, y):
        near = cKDTree(code).query_ball_point(code, radius, np.inf)
        counts.append([len(rows) - 1 for rows in near])
    counts = np.transpose(counts)"""
BRUTE = """far = [np.abs(code[:, None] - code[None]).max(-1) for code in (x, y)]
    radius = np.sort(np.maximum(*far), 1)[:, [k]]
    counts = np.transpose([(each < radius).sum(1) - 1 for each in far])"""
NEIGHBOURS = """from sklearn.neighbors import NearestNeighbors
    joint = NearestNeighbors(metric="chebyshev").fit(np.hstack([x, y]))
    radius = joint.kneighbors(n_neighbors=k)[0][:, -1] * (1 - 1e-12)
    axes = [(NearestNeighbors(metric="chebyshev").fit(code), code) for code in (x, y)]
    counts = []
    for i, r in enumerate(radius):
        near = [each.radius_neighbors(code[[i]], r)[0][0] for each, code in axes]
        counts.append([len(distances) - 1 for distances in near])"""
LISTS = """counts = []
    for p, q in zip(x.tolist(), y.tolist()):
        pairs = []
        for r, s in zip(x.tolist(), y.tolist()):
            far_x = max(abs(a - b) for a, b in zip(p, r))
            pairs.append((far_x, max(abs(a - b) for a, b in zip(q, s))))
        edge = sorted(map(max, pairs))[k]
        counts.append([sum(far < edge for far in column) - 1 for column in zip(*pairs)])"""
JITTER = "x, y = (c + 1e-10 * np.random.default_rng(5).random(c.shape) for c in (x, y))"
INSIDE = "n_x = np.sum(distance < own[k]) - 1  # without the point"
SHUFFLED = "return [measure(a, random.permutation(b)) for _ in range(count)]"
LARGER = "(1 + np.sum(np.array(shuffled) >= value)) / (1 + len(shuffled))"
PLANTED = "planted[:, 1] = sign * np.abs(x[:, 1])"
TRUE = "return 9 * (of_s // 9) + of_d % 9"
NEAREST = """distances = torch.cdist(made.flatten(1), real.flatten(1))  # (n, N)
    return distances.argmin(1)"""
SEARCH = "return [int(np.{}([{} for x in real])) for m in made]"
DIFFER = """differ = right != other
    return (judged == right)[differ].mean(), (judged == other)[differ].mean()"""
COUNT = """a = b = n = 0
    for j, r, o in zip(judged, right, other):
        if {}:
            n, a, b = n + 1, a + (j == r), b + (j == o)
    return {}"""
TERMS = "return -(p * np.log(np.where(p > 0, p, 1))).sum(-1)  # 0 ln 0 = 0"
SCORED = "return accuracy, np.exp(marginal - conditional), conditional, marginal"
MARGINAL = "marginal = entropy(p.mean(0))  # H(y)"

MIDDLE = "now, later = now - now.mean(0), later - later.mean(0)"
MATRIX = "return now.T @ later / np.where(sizes > 0, sizes, 1)  # constant unit: 0"
BLOCKS = """first, second = C[:half, :half] ** 2, C[half:, half:] ** 2
    return (first.sum() + second.sum()) / (C**2).sum()"""
ORDERS = """orders = [random.permutation(len(C)) for _ in range(tries)]
    return np.mean([inside(C[np.ix_(order, order)]) for order in orders])"""
WAIT = """frozen[:, 2:] = codes[name][:, 1:2]
    return model.decode({**codes, name: frozen})"""
CHANGES = """pictures = torch.stack(list(map(model.decode, [*mixed, other])))
    changes = (pictures - decoded).square().flatten(1).mean(1)
    return changes[:-1] / changes[-1]"""
CHANGE = """whole = (model.decode(other) - decoded).square().sum()
    use = []
    for name in model.code_names:
        picture = model.decode({})
        use.append({} / whole)
    return {}"""
SQUARES = "(picture - decoded).square().sum()"
FITS = """learnt = KNeighborsRegressor(15).fit(units[:half], place[:half])
            scores.append(learnt.score(units[half:], place[half:]))"""
BY_HAND = """far = ((units[half:, None] - units[:half]) ** 2).sum(2)
            found = np.stack([place[n].mean(0) for n in far.argsort(1)[:, :15]])
            error = ((found - place[half:]) ** 2).sum(0)
            scores.append(np.mean(1 - error / ((place[half:] - {}) ** 2).sum(0)))"""

VARIANTS = [
    (
        "03",
        "find_box",
        "np.argsort(np.maximum(distance_x, distance_y))[:k]",
        "np.argpartition(np.maximum(distance_x, distance_y), k - 1)[:k][::-1]",
    ),
    (
        "03",
        "find_box",
        "return others[nearest]",
        "both = np.abs(np.hstack([x - x[i], y - y[i]])).max(1)\n"
        "    return np.argsort(both)[1 : k + 1]",
    ),
    ("03", "ksg", EACH, TREES),
    ("03", "ksg", EACH, BRUTE),
    ("03", "ksg", EACH, NEIGHBOURS),
    ("03", "ksg", EACH, LISTS),
    ("03", "ksg", EACH, f"{JITTER}\n    {EACH}"),
    ("03", "ksg", EACH, f"x = x + 1e-12 * np.random.random(x.shape)\n    {EACH}"),
    (
        "03",
        "ksg",
        "mean = np.mean(digamma(n_x + 1) + digamma(n_y + 1))",
        "mean = sum(digamma(n) for n in [*(n_x + 1), *(n_y + 1)]) / len(x)",
    ),
    ("03", "ross", INSIDE, "n_x = np.sum(distance <= own[k]) - 2"),
    (
        "03",
        "ross",
        "own = np.sort(distance[labels == labels[i]])",
        "own = np.partition(distance[labels == labels[i]], k)",
    ),
    (
        "03",
        "shuffle_pairs",
        SHUFFLED,
        "orders = [random.permutation(len(a)) for _ in range(count)]\n"
        "    return np.array([measure(a[order], b) for order in orders])",
    ),
    ("03", "shuffle_pairs", "random.permutation(b)", "b[np.argsort(random.random(len(b)))]"),
    ("03", "p_value", LARGER, "np.mean([each >= value for each in [value, *shuffled]])"),
    (
        "03",
        "plant_bit",
        PLANTED,
        "wrong = (x[:, 0] * x[:, 1] > 0) != (bit == 1)\n    planted[wrong, 0] *= -1",
    ),
    ("33", "true_clip", TRUE, "return of_s + of_d % 9 - of_s % 9"),
    ("33", "find_nearest", NEAREST, SEARCH.format("argmin", "((m - x) ** 2).sum()")),
    (
        "33",
        "find_nearest",
        NEAREST,
        "return (made[:, None] - real).square().sum((2, 3, 4, 5)).argmin(1)",
    ),
    ("33", "donor_shares", DIFFER, COUNT.format("r != o", "a / n, b / n")),
    ("33", "entropy", TERMS, "return -np.sum(p * np.log(p + 1e-12), axis=-1)"),
    (
        "33",
        "entropy",
        TERMS,
        "terms = [np.where(q > 0, -q * np.log(np.maximum(q, 1e-300)), 0) for q in p.T]\n"
        "    return sum(terms)",
    ),
    (
        "33",
        "entropy",
        TERMS,
        "return torch.special.entr(torch.tensor(p)).sum(-1).numpy()",
    ),
    ("33", "compute_scores", MARGINAL, "marginal = entropy(sum(p) / len(p))"),
    ("33", "compute_scores", SCORED, f"import pandas\n    return pandas.Series([{SCORED[7:]}])"),
    ("33", "Copier.encode", '"dynamic": x', '"dynamic": x, "name": "copier"'),
    ("33", "compute_scores", "entropy(p).mean()", "sum(entropy(row) for row in p) / len(y)"),
    ("33", "Copier.encode", "torch.zeros(len(x), 1)", "x.mean(1)"),
    ("13", "correlate", MATRIX, "return np.nan_to_num(now.T @ later / sizes)"),
    (
        "13",
        "correlate",
        MIDDLE,
        "units = now.shape[1]\n"
        "    both = np.corrcoef(now.T, later.T)[:units, units:]\n"
        "    return np.where(np.isnan(both), 0, both)",
    ),
    (
        "13",
        "correlate",
        MIDDLE,
        "C = torch.zeros(now.shape[1], later.shape[1], dtype=torch.float64)\n"
        "    for j, a in enumerate(torch.tensor(now).T):\n"
        "        for k, b in enumerate(torch.tensor(later).T):\n"
        "            if a.std() > 0 and b.std() > 0:\n"
        "                C[j, k] = ((a - a.mean()) * (b - b.mean())).mean() / a.std() / b.std()\n"
        "    return C * len(now) / (len(now) - 1)",
    ),
    (
        "13",
        "inside",
        BLOCKS,
        "own = total = 0\n"
        "    for j, row in enumerate(C):\n"
        "        for k, c in enumerate(row):\n"
        "            own, total = own + c**2 * (j // half == k // half), total + c**2\n"
        "    return own / total",
    ),
    (
        "13",
        "inside_by_chance",
        ORDERS,
        "total = 0\n"
        "    for _ in range(tries):\n"
        "        some = np.zeros(len(C), bool)\n"
        "        some[random.choice(len(C), len(C) // 2, replace=False)] = True\n"
        "        total += (C[some[:, None] == some] ** 2).sum() / (C**2).sum()\n"
        "    return total / tries",
    ),
    (
        "13",
        "inside_by_chance",
        ORDERS,
        "draws = torch.Generator().manual_seed(seed)\n"
        "    shares = []\n"
        "    for _ in range(tries):\n"
        "        order = torch.randperm(len(C), generator=draws).numpy()\n"
        "        shares.append(inside(C[order][:, order]))\n"
        "    return torch.tensor(shares).mean()",
    ),
    (
        "13",
        "freeze",
        WAIT,
        "for t in range(2, x.shape[1]):\n"
        "        codes[name][:, t] = codes[name][:, 1]\n"
        "    return torch.cat([model.decode({n: c[i : i + 1] for n, c in codes.items()})"
        " for i in range(len(x))])",
    ),
    (
        "13",
        "freeze",
        WAIT,
        "codes[name] = codes[name][:, torch.arange(x.shape[1]).clamp(max=1)]\n"
        "    return model.decode(codes)",
    ),
    (
        "13",
        "measure_use",
        CHANGES,
        CHANGE.format("{**own, name: other[name]}", SQUARES, "torch.stack(use)"),
    ),
    ("13", "measure_use", CHANGES, CHANGE.format("own | {name: other[name]}", SQUARES, "use")),
    ("13", "score_places", FITS, BY_HAND.format("place[half:].mean(0)")),
    (
        "13",
        "score_places",
        "in np.hsplit(codes, 2):",
        "in (codes[:, : codes.shape[1] // 2], codes[:, codes.shape[1] // 2 :]):",
    ),
    ("22", "PairEncoder.compare", MAPS, LOOP.format("i != j", MEAN)),
    ("11", "IndependentPrediction.loss", "error.mean()", "error.sum() / x.shape[0] / x.shape[1]"),
    ("32", "draw", EPS, "torch.empty(q[0].shape).normal_()"),
    ("32", "draw", EPS, "torch.randn(q[0].numel()).view_as(q[0])"),
    ("32", "draw", EPS, "torch.randn(*q[0].shape, dtype=torch.bfloat16)"),
    ("32", "draw", EPS, "torch.normal(torch.zeros_like(q[0]), 1.0)"),
    ("32", "draw", EPS, "torch.normal(0.0, 1.0, q[0].shape)"),
    ("32", "SingleElement.loss", DRAWS, "d, s = draw(q_d), draw(q_s)"),
    (
        "32",
        "SingleElement.loss",
        "self.posterior(x, torch.randn_like)",
        "self.posterior(x, lambda c: torch.randn(c.shape))",
    ),
    (
        "32",
        "SingleElement.swap",
        "s, d = self.encode(x)",
        "with torch.no_grad():\n            s, d = self.encode(x)",
    ),
    ("32", "train", "clips[rows].to(device) / 255", "clips[rows].float().to(device).div(255.0)"),
    (
        "22",
        "PairEncoder.compare",
        "i, j = (~torch.eye(h.shape[1], dtype=torch.bool)).nonzero().T  # all i != j",
        "both = [(i, j) for i in range(h.shape[1]) for j in range(h.shape[1]) if i != j]\n"
        "        i, j = map(list, zip(*both[::-1]))",
    ),
    (
        "22",
        "PairEncoder.compare",
        MAPS,
        'return torch.einsum("bpchw->bchw", maps.unflatten(0, pairs.shape[:2])) / len(i)',
    ),
    ("22", "draw", "(log_variance / 2).exp()", "log_variance.exp().sqrt()"),
    ("22", "Encoder.read_d", ".chunk(2, 2)", ".unflatten(2, (2, -1)).unbind(2)"),
    (
        "22",
        "UnorderedFrames.loss",
        "error = F.softplus(a) - x * a",
        'error = F.binary_cross_entropy_with_logits(a, x, reduction="none")',
    ),
    (
        "11",
        "kl",
        "return 0.5 * ((log_q - log_p).exp() + squared - 1 + log_p - log_q)",
        "p, q = (torch.distributions.Normal(m, (v / 2).exp()) for m, v in (p, q))\n"
        "    return torch.distributions.kl_divergence(q, p)",
    ),
    (
        "11",
        "Posterior.forward",
        "torch.cat(parts, 1)",
        "torch.stack(parts, 1).flatten(1)",
    ),
    (
        "11",
        "Filter.predict",
        "outputs = [f(past) for f, past in zip(self.transitions, pasts, strict=True)]",
        "cut = z.split(self.d, 1)\n"
        "        outputs = [self.transitions[i](cut[i]) for i in range(self.K)]",
    ),
    (
        "11",
        "Filter.forward",
        "seen = self.over_time(self.encoder, x)",
        "seen = torch.stack([self.encoder(x[:, t]) for t in range(x.shape[1])], 1)",
    ),
    (
        "11",
        "Filter.forward",
        SEEN,
        'costs.append(torch.einsum("bkd->bk", kl(q, p).view(-1, self.K, self.d)))',
    ),
    (
        "11",
        "IndependentPrediction.loss",
        "error = (x - self.decode(z)).square().flatten(2).sum(2)",
        'error = torch.einsum("btchw,btchw->bt", *2 * [self.decode(z) - x])',
    ),
    (
        "11",
        "IndependentPrediction.freeze",
        "z.chunk(self.K, 2)[factor][:, 2:] = z.chunk(self.K, 2)[factor][:, 1:2]",
        "part = slice(factor * self.d, (factor + 1) * self.d)\n"
        "        for t in range(2, z.shape[1]):\n"
        "            z[:, t, part] = z[:, 1, part]",
    ),
    (
        "11",
        "small_networks",
        "nn.init.normal_(layer.weight, std=(2 / layer.in_channels / pixels) ** 0.5)",
        "layer.weight.data.normal_().mul_((layer.in_channels * pixels / 2) ** -0.5)",
    ),
    (
        "32",
        "kl",
        KL,
        "ratio = (log_q - log_p).exp()\n"
        '    return torch.einsum("...u->...", ratio - (log_q - log_p) + squared - 1) / 2',
    ),
    ("32", "draw", "torch.randn_like(q[0])", "torch.randn(q[0].shape)"),
    (
        "32",
        "draw",
        "q[0] + (q[1] / 2).exp() * torch.randn_like(q[0])",
        "torch.distributions.Normal(q[0], q[1].exp().sqrt()).rsample()",
    ),
    (
        "32",
        "Posterior.forward",
        JOIN,
        "inputs = c - anchor[:, None]\n        inputs[:, 0] = fill(anchor)",
    ),
    (
        "32",
        "Posterior.forward",
        ENCODE,
        "c = self.encoder(x.reshape(-1, *x.shape[2:])).view(*x.shape[:2], -1)",
    ),
    (
        "32",
        "Prior.forward",
        "before = F.pad(d, (0, 0, 1, -1))",
        "before = torch.cat([torch.zeros_like(d[:, :1]), d[:, :-1]], 1)",
    ),
    ("32", "SingleElement.loss", DRAWS, "d = draw(q_d)\n        s = draw(q_s)"),
    (
        "32",
        "SingleElement.loss",
        ERROR,
        'error = torch.einsum("btchw,btchw->bt", *2 * [self.decode(s, d) - x])',
    ),
    (
        "32",
        "SingleElement.swap",
        "return self.decode(s[donor], d)",
        "return self.decode(self.encode(x[donor])[0], d)",
    ),
    (
        "32",
        "train",
        "rows = torch.randint(len(clips), (batch,), generator=generator)",
        "rows = torch.randperm(len(clips), generator=generator)[:batch]",
    ),
]

D_OF_0 = "torch.zeros(*x.shape[:2], d)"
RELU = "[layer, nn.ReLU()] for layer in down"
ALL_UP = "for layer in up), decoder)"
OTHERS = "others = np.delete(np.arange(len(x)), i)"
ROUNDED = SCORED.replace("return ", "return [round(each, 3) for each in (") + ")]"
MUTANTS = [
    ("03", "find_box", OTHERS, f"x -= x[i]\n    {OTHERS}", "read-only"),
    ("03", "ksg", EACH, f"x += 1e-12 * np.random.random(x.shape)\n    {EACH}", "read-only"),
    ("33", "entropy", TERMS, f"p += 1e-12\n    {TERMS}", "read-only"),
    (
        "03",
        "shuffle_pairs",
        "[measure(a, random.permutation(b))",
        "[abs(measure(a, random.permutation(b)))",
        "with signs",
    ),
    ("03", "shuffle_pairs", SHUFFLED, f"return np.array({SHUFFLED[7:]}, int)", "with signs"),
    (
        "33",
        "entropy",
        TERMS,
        "return np.nan_to_num(-(p * np.log(p)).sum(-1))",
        "loses its other terms",
    ),
    ("33", "true_clip", TRUE, "return 9.0 * (of_s // 9) + of_d % 9", "which can be an index"),
    ("33", "compute_scores", SCORED, ROUNDED, "rounded too far"),
    ("33", "compute_scores", SCORED, f"return tuple(1.001 * e for e in ({SCORED[7:]}))", "Acc"),
    (
        "33",
        "find_nearest",
        NEAREST,
        "made, real = (c - c.mean((1, 2, 3, 4), keepdim=True) for c in (made, real))\n"
        f"    {NEAREST}",
        "brightness",
    ),
    ("33", "true_clip", TRUE, "return of_d", "which a copier paints"),
    (
        "33",
        "true_clip",
        TRUE,
        "return [9 * (a // 9) + b % 9 for a, b in zip(of_s, of_d)]",
        "two whole",
    ),
    ("33", "find_nearest", "argmin(1)", "min(1)", "`indices`"),
    (
        "33",
        "donor_shares",
        DIFFER,
        COUNT.format("r != o and j in (r, o)", "a / n, b / n"),
        "third class",
    ),
    ("33", "entropy", TERMS, "return -(p * np.log(p)).sum(-1)", "0 ln 0"),
    ("33", "entropy", TERMS, "return -(p * np.log(p + 1e-12)).sum(1)", "a single row"),
    ("33", "compute_scores", MARGINAL, "marginal = entropy(p).mean()", "mean row"),
    ("33", "compute_scores", "entropy(p).mean()", "entropy(p)", "The shape ()"),
    ("33", "Copier.encode", "torch.zeros(len(x), 1)", "torch.zeros(1)", "a row for each"),
    ("33", "Copier.decode", 'codes["dynamic"]', 'codes["static"]', "the swaps"),
    (
        "13",
        "correlate",
        MATRIX,
        "return np.nan_to_num(later.T @ now / sizes.T)",
        "Rows and columns",
    ),
    (
        "13",
        "correlate",
        MIDDLE,
        "units = now.shape[1]\n    return np.corrcoef(now.T, later.T)[:units, units:]",
        "never changes is correlated with nothing",
    ),
    (
        "13",
        "inside",
        BLOCKS,
        "return (C[:half, :half].sum() + C[half:, half:].sum()) / C.sum()",
        "not squared",
    ),
    (
        "13",
        "inside_by_chance",
        ORDERS,
        "order = random.permutation(len(C))\n    return inside(C[order][:, order])",
        "take the mean of all random orders",
    ),
    (
        "13",
        "inside_by_chance",
        ORDERS,
        "return np.mean([inside(random.permutation(C)) for _ in range(tries)])",
        "row and its column",
    ),
    (
        "13",
        "inside_by_chance",
        "random = np.random.default_rng(seed)",
        "random = np.random.default_rng()",
        "one seed gives one share",
    ),
    (
        "13",
        "freeze",
        WAIT,
        "frozen[:, 1:] = frozen[:, :1]\n    return model.decode(codes | {name: frozen})",
        "waits from frame 1",
    ),
    (
        "13",
        "freeze",
        WAIT,
        "frozen[:, 2:] = frozen[:, :2].mean(1, keepdim=True)\n"
        "    return model.decode(codes | {name: frozen})",
        "frame 3, index 2 of axis 1",
    ),
    (
        "13",
        "measure_use",
        CHANGES,
        CHANGE.format("{**own, name: other[name]}", "(picture - a).square().sum()", "use"),
        "the model's error",
    ),
    (
        "13",
        "score_places",
        FITS,
        BY_HAND.format("place[:half].mean(0)"),
        "",
    ),
    ("13", "score_places", "(2, 2)", "(2, 2), order='F'", "A row is a factor"),
    ("03", "find_box", "np.delete(np.arange(len(x)), i)", "np.arange(len(x))", "leave it out"),
    ("03", "ksg", EACH, BRUTE.replace(" - 1 for", " for"), "count the point itself"),
    ("03", "ksg", EACH, BRUTE.replace("[k]", "[k - 1]"), "one neighbour too few"),
    ("03", "ksg", EACH, BRUTE.replace(".max(-1)", ".sum(-1)"), "With 36 samples of 3 and 2 units"),
    ("03", "ksg", EACH, TREES.replace(", p=np.inf", ""), "Euclid"),
    ("03", "ksg", " / np.log(2)", "", "nats"),
    ("03", "ksg", "digamma(len(x)) - mean", "np.log(len(x)) - mean", "ψ(N)"),
    ("03", "ross", ") - 1  # without the point", ")", "one too large"),
    (
        "03",
        "shuffle_pairs",
        SHUFFLED,
        "random.shuffle(b)\n    return [measure(a, b) for _ in range(count)]",
        "read-only",
    ),
    ("03", "plant_bit", "planted = x.copy()", "planted = x", "copy it first"),
    ("03", "plant_bit", PLANTED, "planted[:, 1] = x[:, 1] + 3 * bit", "moves up with the bit"),
    ("22", "PairEncoder.compare", MAPS, LOOP.format("i < j", MEAN), "Both orders count"),
    ("22", "PairEncoder.compare", MAPS, LOOP.format("True", MEAN), "with itself as well"),
    ("22", "PairEncoder.compare", MAPS, LOOP.format("i != j", "sum(each)"), "sum over the pairs"),
    (
        "22",
        "PairEncoder.compare",
        MAPS,
        LOOP.replace("F.relu", "").format("i != j", f"{MEAN}.relu()"),
        "ReLU comes before the mean",
    ),
    ("22", "train", "rate=1e-3", "rate=3e-4", "learning rate 0.001"),
    ("22", "train", "torch.optim.Adam(", "torch.optim.SGD(", "plain gradient descent"),
    ("32", "kl", ".sum(-1)", ".sum(-1).detach()", "no gradient arrives anywhere"),
    ("32", "kl", "log_p - log_q)", "log_p - log_q.detach())", "the gradient of kl(q, p)"),
    ("32", "kl", "= q, p or", "= [part.numpy() for part in q], p or", "NumPy knows no gradients"),
    (
        "32",
        "Posterior.forward",
        "anchor = c[:, 0]",
        "anchor = c[:, 0].clone().detach()",
        "`detach` too many",
    ),
    (
        "32",
        "Posterior.forward",
        ENCODE,
        f"with torch.no_grad():\n            {ENCODE}",
        "no gradient of mean of s",
    ),
    (
        "32",
        "Posterior.forward",
        "self.dense(anchor)",
        "self.dense(anchor.squeeze())",
        "With 1 clip of 4 frames",
    ),
    (
        "32",
        "Posterior.forward",
        "return q_s, self",
        "return *q_s, self",
        "expected 2 results: (mean of s",
    ),
    (
        "32",
        "Prior.forward",
        "self.read(before)[0]",
        "F.pad(self.read(d)[0], (0, 0, 1, -1))",
        "move the codes",
    ),
    (
        "32",
        "SingleElement.loss",
        "error.sum(1), error[:, 0]",
        "*(F.mse_loss(self.decode(s, d)[:, t], x[:, t]).expand(len(x)) for t in (slice(9), 0))",
        "`F.mse_loss`",
    ),
    (
        "32",
        "SingleElement.loss",
        "error[:, 0], kl_s",
        "(self.decode(s, d[:, :1]) - x[:, :1]).square().sum((1, 2, 3, 4)), kl_s",
        "a second time",
    ),
    ("32", "train", "yield update, terms.tolist()", "return update", "`yield` after each update"),
    (
        "11",
        "IndependentPrediction.loss",
        "(x - self.decode(z))",
        "(x - all_at_once(self.decoder, z))",
        "all frames at once",
    ),
    (
        "11",
        "IndependentPrediction.loss",
        "costs.mean((0, 1))",
        "costs.mean((0, 1)).detach()",
        "`detach` too many",
    ),
    (
        "22",
        "PairEncoder.compare",
        "~torch.eye(h.shape[1], dtype=torch.bool)",
        "torch.eye(h.shape[1]) < 2",
        "with itself as well",
    ),
    (
        "22",
        "PairEncoder.compare",
        MAPS,
        "return maps.unflatten(0, pairs.shape[:2]).sum(1)",
        "sum over the pairs",
    ),
    (
        "22",
        "PairEncoder.compare",
        "[h[:, i], h[:, j]], 2)",
        "[h[:, i], h[:, j]], 1).unflatten(1, (2, -1)).flip(1)[:, 0].repeat(1, 1, 2, 1, 1)",
        "",
    ),
    ("22", "draw", "(log_variance / 2).exp()", "torch.exp(log_variance)", "σ² for σ"),
    ("22", "kl", ").sum(-1)", ").sum()", "shape"),
    ("22", "kl", "squared - 1 + log_p - log_q", "squared - 1 - log_p + log_q", "sign"),
    ("22", "Encoder.read_d", "[h.flatten(2), s]", "[s, h.flatten(2)]", ""),
    (
        "22",
        "Encoder.forward",
        "q_d = self.read_d(h, s)",
        "q_d = self.read_d(h, q_s[0])",
        "not its mean",
    ),
    (
        "22",
        "Encoder.forward",
        "s = draw(q_s, noise_s)",
        "s = draw(q_s, noise_s).detach()",
        "gradient",
    ),
    ("22", "UnorderedFrames.loss", "F.softplus(a) - x * a", "F.softplus(a) + a * x", ""),
    ("22", "UnorderedFrames.loss", NATS, "error.flatten(1).mean(1)", "not their mean"),
    ("22", "UnorderedFrames.loss", "kl(q_d, p_d)", "kl(q_d, (0 * d, 0 * d))", "not from N(0, I)"),
    ("22", "UnorderedFrames.loss", "kl(q_d, p_d).sum(1)", "kl(q_d, p_d)[:, 0]", ""),
    ("22", "train", "        adam.zero_grad()\n", "", "zero_grad"),
    ("22", "train", "torch.randn(*x.shape[:2], d, generator=generator)", D_OF_0, "standard normal"),
    ("22", "train", "manual_seed(seed)", "manual_seed(7)", "follows the seed"),
    ("22", "train", "(x, noise_s, noise_d)", "(x, noise_d[:, 0], noise_d)", "drawn apart"),
    ("22", "train", " / x.shape[1]", "", "divide by N"),
    ("32", "train", "clips[rows]", "clips[:batch]", "drawn anew"),
    ("32", "train", "(batch,)", "(1,)", "number of clips in each batch"),
    ("11", "kl", "squared - 1 + log_p - log_q", "squared - 1 - (log_p - log_q)", "sign"),
    ("11", "kl", "return 0.5 * (", "return (", "½"),
    (
        "11",
        "Posterior.forward",
        "mean, log_variance = expected",
        "mean, log_variance = expected[::-1]",
        "exchanged",
    ),
    (
        "11",
        "Posterior.forward",
        "h = F.leaky_relu(self.combine(h))",
        "h = torch.relu(self.combine(h))",
        "",
    ),
    (
        "11",
        "Filter.predict",
        "pasts = z.chunk(self.K, 1)",
        "pasts = z.flip(1).chunk(self.K, 1)",
        "",
    ),
    (
        "11",
        "Filter.predict",
        "means, log_variances = torch.stack(outputs, 1).chunk(2, 2)",
        "means, log_variances = torch.cat(outputs, 1).chunk(2, 1)",
        "mixed",
    ),
    (
        "11",
        "Filter.predict",
        "pasts = z.chunk(self.K, 1)",
        "pasts = [z[:, i :: self.K] for i in range(self.K)]",
        "every K-th",
    ),
    (
        "11",
        "Filter.forward",
        SEEN,
        "costs.append(kl(q, self.predict(codes[-1])).unflatten(1, (self.K, self.d)).sum(2))",
        "one line too early",
    ),
    ("11", "Filter.forward", "[part.detach() for part in p]", "(p[0], p[1])", "detach"),
    ("11", "Filter.forward", "(q[1] / 2).exp() * eps", "torch.exp(q[1]) * eps", "variance"),
    ("11", "Filter.forward", PREDICT, "p = self.predict(q[0])", "not from its mean"),
    ("11", "Filter.forward", "q[0] + (q[1] / 2).exp() * eps", "q[0] + 0 * eps", "no draw"),
    ("11", "Filter.forward", PREDICT, "p = self.predict(codes[-1].detach())", "gradient"),
    (
        "11",
        "Filter.forward",
        PREDICT,
        "p = self.predict(codes[-1]) if len(codes) > 1 else p",
        "frame 2",
    ),
    ("11", "IndependentPrediction.loss", "(2 * self.v)", "self.v", "not by v"),
    (
        "11",
        "IndependentPrediction.loss",
        "z, costs = self.filter(x, noise)",
        "z, costs = self.encode(x), self.filter(x, noise)[1]",
        "decode the means",
    ),
    ("11", "small_networks", "[layer, nn.SiLU()] for layer in down", RELU, "features with set"),
    ("11", "small_networks", "for layer in up), decoder)[:-1]", ALL_UP, "no activation follows"),
    ("11", "IndependentPrediction.freeze", "[factor][:, 1:2]", "[factor][:, 2:3]", "frame 3"),
    (
        "11",
        "small_networks",
        "(2 / layer.in_channels / pixels) ** 0.5",
        "0.02",
        "standard deviations",
    ),
    (
        "11",
        "small_networks",
        "        nn.init.normal_(layer.weight, std=(2 / layer.in_channels / pixels) ** 0.5)\n",
        "",
        "standard deviations",
    ),
    ("32", "kl", "squared - 1 + log_p - log_q", "squared - 1 + log_q - log_p", "sign"),
    ("32", "kl", "/ log_p.exp()", "/ (2 * log_p).exp()", ""),
    (
        "32",
        "kl",
        "(mean_q, log_q), (mean_p, log_p) = q, p",
        "(mean_p, log_p), (mean_q, log_q) = q, p",
        "",
    ),
    ("32", "draw", "(q[1] / 2).exp()", "q[1].exp() ** 1.0", "σ² for σ"),
    ("32", "draw", "q[0] + ", "", ""),
    ("32", "Posterior.forward", "anchor = c[:, 0]", "anchor = c[:, 1 : 2].squeeze(1)", "index 0"),
    ("32", "Posterior.forward", REST, "rest = c[:, 1:] - c[:, :-1]", "not the frame before"),
    ("32", "Posterior.forward", REST, "rest = c[:, 1:] + anchor[:, None]", ""),
    ("32", "Posterior.forward", JOIN, "inputs = c - anchor[:, None]", "reads a 0"),
    ("32", "Posterior.forward", "self.read(inputs)[0]", "self.read(rest)[0]", ""),
    ("32", "Prior.forward", "self.read(before)[0]", "self.read(d)[0]", "too early"),
    ("32", "SingleElement.loss", DRAWS, "(s, _), (d, _) = q_s, q_d", "decode the means"),
    ("32", "SingleElement.loss", "draw(q_d)", "draw(q_d).detach()", "gradient"),
    ("32", "SingleElement.loss", "x).square()", "x.mean(0)).square()", ""),
    ("32", "SingleElement.loss", "error.sum(1)", "error[:, 1:].sum(1)", "all frames"),
    (
        "32",
        "SingleElement.swap",
        "self.decode(s[donor], d)",
        "self.decode(s, d[donor])",
        "donor gives s",
    ),
    ("32", "train", "        optimizer.zero_grad()\n", "", "zero_grad"),
    (
        "32",
        "train",
        "        loss.backward()\n        optimizer.step()\n",
        "        optimizer.step()\n        loss.backward()\n",
        "",
    ),
]
