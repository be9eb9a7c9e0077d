/* The inner loops of feature extraction. `median_group`, the running median, is generated before this text (see
 * kernel.py). Every function computes what a NumPy path computes as well; the same golden vectors check both.
 *
 * Frames are taken TILE at a time, side by side in the lanes of vectors: a tile of spectra is [bin][frame]. Everything that
 * is read off a tile is read while it is in the second-level cache. What separation needs later is kept as cells, blocks of
 * [frame][CHUNK bins], one chunk of bins after the other: in them the neighbours in time of a cell lie next to it.
 *
 * Constants come from kernel.py: FRAME, HOP, MELS, WINDOW (of the medians), OUTPUTS (of a group of medians), TINY. */

#include <math.h>
#include <string.h>

#if defined(__AVX512F__)
#define LANES 16
#elif defined(__AVX2__)
#define LANES 8
#else
#define LANES 4
#endif
#define TILE 16
#define CHUNK OUTPUTS
#define BINS (FRAME / 2 + 1)
#define HALF (FRAME / 2)
#define CHUNKS ((BINS + CHUNK - 1) / CHUNK)
#define BEFORE (WINDOW / 2)
#define PADDED (CHUNKS * CHUNK + WINDOW - 1)
#define OVERLAP (FRAME / HOP)
#define HOPS (TILE + OVERLAP - 1)
#define TURNED 20 /* HOPS, and room to read a vector at each place that is read */
#define ROOT_HALF 0.70710678f

typedef float vec __attribute__((vector_size(4 * LANES), aligned(4), may_alias));
typedef int ivec __attribute__((vector_size(4 * LANES)));
typedef struct {
    vec re, im;
} cvec;

static inline vec load(const float *from) { return *(const vec *)from; }
static inline void store(float *to, vec value) { *(vec *)to = value; }

/* Row `i` of an array of `rows` rows that is mirrored at both ends, edge row included. */
static long mirrored(long i, long rows) {
    long turn = i % (2 * rows);
    if (turn < 0) turn += 2 * rows;
    return turn < rows ? turn : 2 * rows - 1 - turn;
}

/* Pairs of the lower, and of the upper, lanes of two vectors: a0 b0 a1 b1 ... */
#if LANES == 16
#define LOW(a, b) __builtin_shufflevector(a, b, 0, 16, 1, 17, 2, 18, 3, 19, 4, 20, 5, 21, 6, 22, 7, 23)
#define HIGH(a, b) __builtin_shufflevector(a, b, 8, 24, 9, 25, 10, 26, 11, 27, 12, 28, 13, 29, 14, 30, 15, 31)
#elif LANES == 8
#define LOW(a, b) __builtin_shufflevector(a, b, 0, 8, 1, 9, 2, 10, 3, 11)
#define HIGH(a, b) __builtin_shufflevector(a, b, 4, 12, 5, 13, 6, 14, 7, 15)
#else
#define LOW(a, b) __builtin_shufflevector(a, b, 0, 4, 1, 5)
#define HIGH(a, b) __builtin_shufflevector(a, b, 2, 6, 3, 7)
#endif

/* out[j][i] = in[i][j], LANES by LANES. */
static inline void turn_square(const float *restrict in, long in_stride, float *restrict out, long out_stride) {
    vec rows[LANES], mixed[LANES];
    for (long i = 0; i < LANES; i++) rows[i] = load(in + i * in_stride);
    for (long step = 1; step < LANES; step *= 2) {
        for (long i = 0; i < LANES / 2; i++) {
            mixed[2 * i] = LOW(rows[i], rows[i + LANES / 2]);
            mixed[2 * i + 1] = HIGH(rows[i], rows[i + LANES / 2]);
        }
        memcpy(rows, mixed, sizeof rows);
    }
    for (long i = 0; i < LANES; i++) store(out + i * out_stride, rows[i]);
}

/* The same, 16 by 16. */
static void turn(const float *restrict in, long in_stride, float *restrict out, long out_stride) {
    for (long i = 0; i < 16; i += LANES)
        for (long j = 0; j < 16; j += LANES)
            turn_square(in + i * in_stride + j, in_stride, out + j * out_stride + i, out_stride);
}

/* LANES Fourier transforms of n values (a power of two), in place: radix 4, decimation in frequency. Frequency k comes out
 * at `place[k]`. `twiddle` holds w^k, w^2k, w^3k for k < n / 4, then the same for n / 4, and so on (kernel.py). */
static void transform(cvec *restrict z, long n, const float *restrict twiddle) {
    if (n == 2) {
        cvec a = z[0], b = z[1];
        z[0] = (cvec){a.re + b.re, a.im + b.im};
        z[1] = (cvec){a.re - b.re, a.im - b.im};
    }
    if (n < 4) return;
    const long quarter = n / 4;
    for (long k = 0; k < quarter; k++) {
        const float *w = twiddle + 6 * k;
        cvec a = z[k], b = z[k + quarter], c = z[k + 2 * quarter], d = z[k + 3 * quarter];
        cvec s = {a.re + c.re, a.im + c.im}, t = {a.re - c.re, a.im - c.im};
        cvec u = {b.re + d.re, b.im + d.im}, v = {b.im - d.im, d.re - b.re};
        cvec x1 = {t.re + v.re, t.im + v.im}, x2 = {s.re - u.re, s.im - u.im}, x3 = {t.re - v.re, t.im - v.im};
        z[k] = (cvec){s.re + u.re, s.im + u.im};
        z[k + quarter] = (cvec){x1.re * w[0] - x1.im * w[1], x1.re * w[1] + x1.im * w[0]};
        z[k + 2 * quarter] = (cvec){x2.re * w[2] - x2.im * w[3], x2.re * w[3] + x2.im * w[2]};
        z[k + 3 * quarter] = (cvec){x3.re * w[4] - x3.im * w[5], x3.re * w[5] + x3.im * w[4]};
    }
    if (quarter > 1)
        for (long r = 0; r < 4; r++) transform(z + r * quarter, quarter, twiddle + 6 * quarter);
}

/* Of the magnitude of each frame over frequency, in units of the highest: its centroid, its variance around that, and the bin
 * up to which ROLLOFF of it lies, summed one after the other, as numpy.cumsum does. `shape` is [3][TILE]; 0 in silence. */
static void read_shape(const float *restrict magnitude, float *restrict shape) {
    for (long part = 0; part < TILE; part += LANES) {
        const float *m = magnitude + part;
        vec zero = {0}, first = zero, second = zero, total = zero, below = zero;
        ivec count = {0};
        for (long start = 0; start < BINS; start += 32) { /* sums of sums: a long sum of floats loses digits */
            vec some = zero;
            for (long bin = start; bin < start + 32 && bin < BINS; bin++) {
                vec value = load(m + bin * TILE);
                total += value, some += value * ((float)bin * (1.0f / HALF));
            }
            first += some;
        }
        const vec whole = total - __builtin_convertvector(total < TINY, vec); /* a comparison is -1 where it holds */
        const vec limit = total * ROLLOFF, centroid = first / whole;
        for (long start = 0; start < BINS; start += 32) {
            vec some = zero;
            for (long bin = start; bin < start + 32 && bin < BINS; bin++) {
                vec value = load(m + bin * TILE), away = (float)bin * (1.0f / HALF) - centroid;
                below += value, some += value * away * away;
                count -= below < limit;
            }
            second += some;
        }
        store(shape + part, centroid), store(shape + TILE + part, second / whole);
        store(shape + 2 * TILE + part, __builtin_convertvector(count, vec));
    }
}

/* out[band][TILE]: the sums of `in` [bin][TILE] by filters that are stored from their first bin on, one after the other. */
static void filter_bank(const float *restrict in, float *restrict out, long bands, const float *restrict weights,
                        const int *restrict start, const int *restrict length) {
    for (long band = 0; band < bands; band++) {
        for (long part = 0; part < TILE; part += LANES) {
            vec even = {0}, odd = {0};
            const float *from = in + start[band] * TILE + part;
            long k = 0;
            for (; k + 1 < length[band]; k += 2) {
                even += load(from + k * TILE) * weights[k];
                odd += load(from + (k + 1) * TILE) * weights[k + 1];
            }
            if (k < length[band]) even += load(from + k * TILE) * weights[k];
            store(out + band * TILE + part, even + odd);
        }
        weights += length[band];
    }
}

static void pitch_classes(const float *restrict power, const float *restrict bank, float *restrict out) {
    for (long part = 0; part < TILE; part += LANES) {
        vec sum[12] = {{0}};
        for (long bin = 0; bin < BINS; bin++) {
            vec value = load(power + bin * TILE + part);
            for (long k = 0; k < 12; k++) sum[k] += value * bank[12 * bin + k];
        }
        for (long k = 0; k < 12; k++) store(out + k * TILE + part, sum[k]);
    }
}

/* The transform of the frames is pocketfft's, which NumPy's path takes: the same sums in the same order, and no product is
 * fused with a sum, so that both round alike. */
#if defined(__clang__)
#pragma clang fp contract(off)
#else
#pragma GCC push_options
#pragma GCC optimize("fp-contract=off")
#endif
#define ALWAYS static inline __attribute__((always_inline))

/* A step of LANES real transforms: from the transforms of every fourth value, `in` [4][n], that of all. A transform of n is re 0,
 * re 1, im 1, re 2 ... re n / 2. The n are a power of four. */
ALWAYS void combine(const vec *restrict in, long n, const float *restrict twiddle, vec *restrict out) {
    const vec *b = in + n, *c = in + 2 * n, *d = in + 3 * n;
    vec *quarter = out + n, *half = out + 2 * n, *last = out + 3 * n;
    vec even = in[0] + c[0], odd = d[0] + b[0];
    out[0] = even + odd, last[n - 1] = even - odd, quarter[n - 1] = in[0] - c[0], half[0] = d[0] - b[0];
    if (n == 1) return;
    vec sum = -ROOT_HALF * (b[n - 1] + d[n - 1]), change = ROOT_HALF * (b[n - 1] - d[n - 1]);
    out[n - 1] = in[n - 1] + change, half[n - 1] = in[n - 1] - change;
    last[0] = sum + c[n - 1], quarter[0] = sum - c[n - 1];
    for (long re = 1, im = 2; im < n; re += 2, im += 2) {
        const float *w = twiddle + 3 * im;
        vec b_re = b[re] * w[0] - b[im] * w[1], b_im = b[im] * w[0] + b[re] * w[1];
        vec c_re = c[re] * w[2] - c[im] * w[3], c_im = c[im] * w[2] + c[re] * w[3];
        vec d_re = d[re] * w[4] - d[im] * w[5], d_im = d[im] * w[4] + d[re] * w[5];
        vec s_re = in[re] + c_re, s_im = in[im] + c_im, t_re = in[re] - c_re, t_im = in[im] - c_im;
        vec u_re = d_re + b_re, u_im = b_im + d_im, v_re = b_im - d_im, v_im = d_re - b_re;
        const long back = n - im;
        out[re] = s_re + u_re, out[im] = s_im + u_im, half[re] = t_re + v_re, half[im] = t_im + v_im;
        last[back - 1] = s_re - u_re, last[back] = u_im - s_im;
        quarter[back - 1] = t_re - v_re, quarter[back] = v_im - t_im;
    }
}

/* Frames in the lanes of vectors: value k of the i-th quarter, which is a hop, is at `at` + k * stride + i * quarter. */
typedef struct {
    const float *at;
    long stride, quarter;
} lanes_of;

/* The transform of n values, every (FRAME / n)-th from `first` on, of frames by a window. Sixteen are taken at once; more by
 * four transforms in `spare`, which is cut up as `out` is. `twiddle` is as in `transform`. */
static void real_transform(lanes_of frames, const float *restrict window, long first, long n,
                           const float *restrict twiddle, vec *restrict out, vec *restrict spare) {
    const long part = n / 4, step = FRAME / n;
    if (n > 16) {
        for (long k = 0; k < 4; k++)
            real_transform(frames, window, first + k * step, part, twiddle + 6 * part, spare + k * part, out + k * part);
        combine(spare, part, twiddle, out);
        return;
    }
    vec quarters[16];
    for (long k = 0; k < 4; k++) {
        vec x[4];
        for (long i = 0; i < 4; i++) {
            const long at = first + k * step;
            x[i] = *(const vec *)(frames.at + at * frames.stride + i * frames.quarter) * window[at + i * HOP];
        }
        combine(x, 1, twiddle, quarters + 4 * k);
    }
    combine(quarters, 4, twiddle, out);
}

/* The spectra of a tile of frames, [bin][re, im][TILE]. `twiddle` is of HALF, `unit` as in `waveforms`; `room` is of
 * 2 * FRAME * LANES. */
static void spectra(lanes_of frames, const float *restrict window, const float *restrict twiddle, const float *restrict unit,
                    float *restrict tile, float *restrict room) {
    vec *even = (vec *)room, *odd = even + HALF, *spare = odd + HALF;
    for (long lane = 0; lane < TILE; lane += LANES, frames.at += LANES) {
        real_transform(frames, window, 0, HALF, twiddle, even, spare);
        real_transform(frames, window, 1, HALF, twiddle, odd, spare + HALF);
        vec *low = (vec *)(tile + lane), *high = (vec *)(tile + 2 * HALF * TILE + lane); /* of frequency 0, and of half the rate */
        const long next = TILE / LANES, middle = HALF * next;
        low[0] = even[0] + odd[0], low[next] = (vec){0}, high[0] = even[0] - odd[0], high[next] = (vec){0};
        low[middle] = even[HALF - 1], low[middle + next] = -odd[HALF - 1];
        for (long k = 1; k < HALF / 2; k++) {
            const vec re = even[2 * k - 1], im = even[2 * k], other_re = odd[2 * k - 1], other_im = odd[2 * k];
            const float c = unit[2 * k], s = unit[2 * k + 1];
            vec turned_re = other_re * c - other_im * s, turned_im = other_im * c + other_re * s;
            low[2 * k * next] = re + turned_re, low[(2 * k + 1) * next] = turned_im + im;
            high[-2 * k * next] = re - turned_re, high[-(2 * k - 1) * next] = turned_im - im;
        }
    }
}

/* The energy between `edges` (bins, ascending, of `limits`) of the frames that begin at `starts`: `energy` [count][limits - 1],
 * differences of sums from the first bin on, which are double. `scratch` is of (FRAME + 2 * BINS) * TILE + 2 * FRAME * LANES. */
void frame_bands(const float *restrict sound, const int *restrict starts, long count, const float *restrict window,
                 const float *restrict twiddle, const float *restrict unit, const int *restrict edges, long limits,
                 double *restrict energy, float *restrict scratch) {
    float *turned = scratch + 2 * BINS * TILE, *room = turned + FRAME * TILE, square[16 * 16];
    for (long first = 0; first < count; first += TILE) {
        const long there = count - first < TILE ? count - first : TILE;
        for (long k = 0; k < FRAME; k += 16) {
            for (long frame = 0; frame < TILE; frame++)
                memcpy(square + 16 * frame, sound + starts[first + (frame < there ? frame : 0)] + k, 16 * sizeof(float));
            turn(square, 16, turned + k * TILE, TILE);
        }
        spectra((lanes_of){turned, TILE, HOP * TILE}, window, twiddle, unit, scratch, room);
        double total[TILE] = {0}, before[TILE] = {0};
        for (long edge = 0, bin = 0; edge < limits; edge++) {
            for (; bin < edges[edge]; bin++)
                for (long frame = 0; frame < TILE; frame++) {
                    float re = scratch[2 * bin * TILE + frame], im = scratch[(2 * bin + 1) * TILE + frame];
                    float power = re * re + im * im;
                    total[frame] += power;
                }
            for (long frame = 0; frame < there && edge; frame++)
                energy[(first + frame) * (limits - 1) + edge - 1] = total[frame] - before[frame];
            memcpy(before, total, sizeof before);
        }
    }
}

#if defined(__clang__)
#pragma clang fp contract(fast)
#else
#pragma GCC pop_options
#endif

/* The first hops of `hops`, [hop][HOP], as [HOP][TURNED]: frames overlap, so that these are a quarter of a tile. */
static void turn_hops(const float *restrict sound, long hops, float *restrict turned) {
    for (long k = 0; k < HOP && hops >= TILE; k += 16) turn(sound + k, HOP, turned + k * TURNED, TURNED);
    for (long hop = hops >= TILE ? TILE : 0; hop < TURNED; hop++)
        for (long k = 0; k < HOP; k++) turned[k * TURNED + hop] = hop < hops ? sound[hop * HOP + k] : 0;
}

/* What is read off the `frames` frames of `sound`, [frames + OVERLAP - 1][HOP]: the mel energies [frames, MELS], `shape`
 * [frames, 3] (`read_shape`), `chroma` [frames, 12] if there is a `bank` [BINS, 12], and for separation the cells of
 * magnitude [CHUNKS][tiles * TILE + WINDOW - 1][CHUNK], which begin BEFORE frames early, and of their medians over frequency,
 * [CHUNKS][tiles * TILE][CHUNK]; the spectra as tiles [tiles][BINS][2][TILE], if they are to be kept. `mel` has room for
 * whole tiles. `scratch` is of (3 * BINS + PADDED + CHUNK + MELS) * TILE + 2 * FRAME * LANES + HOP * TURNED floats. */
void read_frames(const float *restrict sound, long frames, const float *restrict window, const float *restrict twiddle,
                 const float *restrict unit, const float *restrict mel_weights, const int *restrict mel_start,
                 const int *restrict mel_length, const float *restrict bank, float *restrict mel, float *restrict shape,
                 float *restrict chroma, float *restrict magnitude, float *restrict percussive, float *restrict kept,
                 float *restrict scratch) {
    const long tiles = (frames + TILE - 1) / TILE, rows = tiles * TILE + WINDOW - 1;
    float *power = scratch + 2 * BINS * TILE, *cells = power + BINS * TILE, *medians = cells + PADDED * TILE;
    float *small = medians + CHUNK * TILE, *m = cells + BEFORE * TILE, *turned = small + MELS * TILE;
    float *room = turned + HOP * TURNED;
    for (long first = 0; first < frames; first += TILE) {
        const long there = frames - first < TILE ? frames - first : TILE;
        float *tile = kept ? kept + first * 2 * BINS : scratch;
        turn_hops(sound + first * HOP, frames + OVERLAP - 1 - first, turned);
        spectra((lanes_of){turned, TURNED, 1}, window, twiddle, unit, tile, room);
        for (long bin = 0; bin < BINS; bin++)
            for (long frame = 0; frame < TILE; frame++) {
                float re = tile[2 * bin * TILE + frame], im = tile[(2 * bin + 1) * TILE + frame];
                power[bin * TILE + frame] = re * re + im * im;
            }
        for (long i = 0; i < BINS * TILE; i++) m[i] = sqrtf(power[i]);
        read_shape(m, small);
        for (long frame = 0; frame < there; frame++)
            for (long k = 0; k < 3; k++) shape[3 * (first + frame) + k] = small[k * TILE + frame];
        filter_bank(power, small, MELS, mel_weights, mel_start, mel_length);
        for (long k = 0; k < MELS; k += 16) turn(small + k * TILE, TILE, mel + first * MELS + k, MELS);
        if (bank) {
            pitch_classes(power, bank, small);
            for (long frame = 0; frame < there; frame++)
                for (long k = 0; k < 12; k++) chroma[12 * (first + frame) + k] = small[k * TILE + frame];
        }
        for (long k = 0; k < BEFORE; k++)
            memcpy(cells + k * TILE, m + mirrored(k - BEFORE, BINS) * TILE, TILE * sizeof(float));
        for (long k = BINS; k < PADDED - BEFORE; k++)
            memcpy(m + k * TILE, m + mirrored(k, BINS) * TILE, TILE * sizeof(float));
        for (long chunk = 0; chunk < CHUNKS; chunk++) {
            median_group(cells + chunk * CHUNK * TILE, medians, TILE);
            turn(medians, TILE, percussive + (chunk * tiles * TILE + first) * CHUNK, CHUNK);
        }
        memset(m + BINS * TILE, 0, (CHUNKS * CHUNK - BINS) * TILE * sizeof(float));
        for (long chunk = 0; chunk < CHUNKS; chunk++)
            turn(m + chunk * CHUNK * TILE, TILE, magnitude + (chunk * rows + BEFORE + first) * CHUNK, CHUNK);
    }
    for (long chunk = 0; chunk < CHUNKS; chunk++) { /* both ends can be mirrored now */
        float *cell = magnitude + (chunk * rows + BEFORE) * CHUNK;
        for (long i = -BEFORE; i < 0; i++) memcpy(cell + i * CHUNK, cell + mirrored(i, frames) * CHUNK, 4 * CHUNK);
        for (long i = frames; i < rows - BEFORE; i++) memcpy(cell + i * CHUNK, cell + mirrored(i, frames) * CHUNK, 4 * CHUNK);
    }
}

/* The harmonic mask h^2 / (h^2 + p^2) of a block of cells, [TILE][CHUNK]: `cell` begins BEFORE frames early. */
static inline void mask_block(const float *restrict cell, const float *restrict percussive, float *restrict mask) {
    median_group(cell, mask, CHUNK);
    for (long i = 0; i < TILE * CHUNK; i++) {
        float h = mask[i] * mask[i], total = h + percussive[i] * percussive[i];
        mask[i] = total < TINY ? 0.5f : h / total;
    }
}

/* Energy of each frame and its harmonic part, `energy` [frames][2], from the cells of `read_frames`. */
void harmonic_energy(const float *restrict magnitude, const float *restrict percussive, long frames,
                     float *restrict energy) {
    const long tiles = (frames + TILE - 1) / TILE, rows = tiles * TILE + WINDOW - 1;
    float mask[TILE * CHUNK], harmonic[TILE * CHUNK], total[TILE * CHUNK];
    for (long first = 0; first < frames; first += TILE) {
        memset(harmonic, 0, sizeof harmonic), memset(total, 0, sizeof total);
        for (long chunk = 0; chunk < CHUNKS; chunk++) {
            const float *cell = magnitude + (chunk * rows + first) * CHUNK, *m = cell + BEFORE * CHUNK;
            mask_block(cell, percussive + (chunk * tiles * TILE + first) * CHUNK, mask);
            for (long i = 0; i < TILE * CHUNK; i++) {
                float squared = m[i] * m[i];
                total[i] += squared, harmonic[i] += squared * mask[i];
            }
        }
        for (long frame = 0; frame < TILE && first + frame < frames; frame++) {
            float sums[2] = {0, 0};
            for (long k = 0; k < CHUNK; k++) sums[0] += harmonic[frame * CHUNK + k], sums[1] += total[frame * CHUNK + k];
            memcpy(energy + 2 * (first + frame), sums, sizeof sums);
        }
    }
}

/* The waveforms of LANES masked spectra, added at consecutive hops of `turned`, [sample of the hop][hop]: two real samples come
 * of one complex number. The inverse transform is the forward one with real and imaginary parts changed over. `window` is the
 * window over FRAME, `unit` holds exp(-2 pi i k / FRAME) for k <= HALF / 2. */
static void waveforms(const float *restrict spectrum, const float *restrict mask, const float *restrict window,
                      const float *restrict twiddle, const float *restrict unit, const int *restrict place,
                      cvec *restrict z, float *restrict turned) {
    for (long k = 0; k <= HALF / 2; k++) {
        const float *x = spectrum + 2 * k * TILE, *y = spectrum + 2 * (HALF - k) * TILE;
        vec low = load(mask + k * TILE), high = load(mask + (HALF - k) * TILE);
        cvec a = {load(x) * low, load(x + TILE) * low}, b = {load(y) * high, load(y + TILE) * high};
        cvec even = {a.re + b.re, a.im - b.im}, d = {a.re - b.re, a.im + b.im};
        vec re = d.re * unit[2 * k] + d.im * unit[2 * k + 1], im = d.im * unit[2 * k] - d.re * unit[2 * k + 1];
        z[(HALF - k) % HALF] = (cvec){re - even.im, even.re + im};
        z[k] = (cvec){even.im + re, even.re - im};
    }
    transform(z, HALF, twiddle);
    for (long q = 0; q < OVERLAP; q++)
        for (long k = 0; k < HOP / 2; k++) {
            float *to = turned + 2 * k * TURNED + q;
            const float *w = window + q * HOP + 2 * k;
            cvec value = z[place[q * (HOP / 2) + k]];
            store(to, load(to) + value.im * w[0]), store(to + TURNED, load(to + TURNED) + value.re * w[1]);
        }
}

/* The harmonic waveform before the windows' sum is divided out, added to `sound`, hops of zeros with room for whole tiles; from
 * the cells and tiles of `read_frames`. `scratch` is of 2 * HALF * LANES + (CHUNKS + 1) * CHUNK * TILE + HOP * TURNED. */
void harmonic_sound(const float *restrict magnitude, const float *restrict percussive, const float *restrict spectrum,
                    long frames, const float *restrict window, const float *restrict twiddle,
                    const float *restrict unit, const int *restrict place, float *restrict sound,
                    float *restrict scratch) {
    const long tiles = (frames + TILE - 1) / TILE, rows = tiles * TILE + WINDOW - 1;
    cvec *z = (cvec *)scratch;
    float *masks = scratch + 2 * HALF * LANES, *mask = masks + CHUNKS * CHUNK * TILE, *turned = mask + TILE * CHUNK;
    for (long tile = 0; tile < tiles; tile++) {
        const long first = tile * TILE, count = frames - first < TILE ? frames - first : TILE;
        for (long chunk = 0; chunk < CHUNKS; chunk++) {
            mask_block(magnitude + (chunk * rows + first) * CHUNK, percussive + (chunk * tiles * TILE + first) * CHUNK, mask);
            memset(mask + count * CHUNK, 0, (TILE - count) * CHUNK * sizeof(float));
            turn(mask, CHUNK, masks + chunk * CHUNK * TILE, TILE);
        }
        memset(turned, 0, HOP * TURNED * sizeof(float));
        for (long part = 0; part < TILE; part += LANES)
            waveforms(spectrum + tile * 2 * BINS * TILE + part, masks + part, window, twiddle, unit, place, z,
                      turned + part);
        for (long k = 0; k < HOP; k += 16) {
            turn(turned + k * TURNED, TURNED, mask, 16);
            for (long i = 0; i < 256; i++) sound[(first + i / 16) * HOP + k + i % 16] += mask[i];
        }
        for (long hop = TILE; hop < HOPS; hop++)
            for (long k = 0; k < HOP; k++) sound[(first + hop) * HOP + k] += turned[k * TURNED + hop];
    }
}

/* Sort the `rows` of `values` [rows][TILE], each lane on its own, by a network of compared pairs. */
static void sort(float *values, const int *restrict pairs, long count) {
    for (long i = 0; i < count; i++) {
        float *restrict a = values + pairs[2 * i] * TILE, *restrict b = values + pairs[2 * i + 1] * TILE;
#pragma omp simd
        for (long lane = 0; lane < TILE; lane++) {
            float x = a[lane], y = b[lane];
            a[lane] = x < y ? x : y, b[lane] = x < y ? y : x;
        }
    }
}

/* `rise` [frames]: the median over the bands of how much `mel` [frames, MELS] rises from a frame to the next. */
void median_rise(const float *restrict mel, long frames, const int *restrict pairs, long count, float *restrict rise) {
    float rises[TILE * MELS] = {0}, values[MELS * TILE];
    for (long first = 0; first < frames - 1; first += TILE) {
        const long there = frames - 1 - first < TILE ? frames - 1 - first : TILE;
        const float *now = mel + first * MELS;
        for (long i = 0; i < there * MELS; i++) {
            float change = now[MELS + i] - now[i];
            rises[i] = change > 0 ? change : 0;
        }
        for (long k = 0; k < MELS; k += 16) turn(rises + k, MELS, values + k * TILE, TILE);
        sort(values, pairs, count);
        for (long frame = 0; frame < there; frame++)
            rise[first + frame] = (values[(MELS / 2 - 1) * TILE + frame] + values[MELS / 2 * TILE + frame]) * 0.5f;
    }
}

/* `contrast` [frames, bands]: the mean of the upper quarter of each band of `mel` [frames, MELS] less that of the lower. */
void band_contrast(const float *restrict mel, long frames, long bands, const int *restrict pairs, long count,
                   float *restrict contrast) {
    float some[TILE * MELS] = {0}, values[MELS * TILE];
    const long width = MELS / bands, quarter = width / 4;
    for (long first = 0; first < frames; first += TILE) {
        const long there = frames - first < TILE ? frames - first : TILE;
        memcpy(some, mel + first * MELS, there * MELS * sizeof(float));
        for (long k = 0; k < MELS; k += 16) turn(some + k, MELS, values + k * TILE, TILE);
        for (long band = 0; band < bands; band++) {
            float *rows = values + band * width * TILE, high[TILE] = {0}, low[TILE] = {0};
            sort(rows, pairs, count);
            for (long k = 0; k < quarter; k++)
                for (long frame = 0; frame < TILE; frame++)
                    low[frame] += rows[k * TILE + frame], high[frame] += rows[(width - quarter + k) * TILE + frame];
            for (long frame = 0; frame < there; frame++)
                contrast[(first + frame) * bands + band] = high[frame] / quarter - low[frame] / quarter;
        }
    }
}

/* The sum over all windows of the power spectrum of `onsets`, windowed and scaled to unit energy, n values in the order of
 * the transform; `power` is [n][LANES]. Two windows make one complex number: the sum of both at k and at -k is right. */
void mean_power(const float *restrict onsets, long windows, const float *restrict window, long lags, long n,
                const float *restrict twiddle, float *restrict power, float *restrict scratch) {
    cvec *z = (cvec *)scratch;
    for (long first = 0; first < windows; first += 2 * LANES) {
        cvec energy = {{0}, {0}};
        for (long k = 0; k < lags; k++) {
            vec a = load(onsets + first + k) * window[k], b = load(onsets + first + LANES + k) * window[k];
            energy.re += a * a, energy.im += b * b;
            z[k] = (cvec){a, b};
        }
        float scales[2 * LANES];
        store(scales, energy.re), store(scales + LANES, energy.im);
        for (long i = 0; i < 2 * LANES; i++)
            scales[i] = first + i >= windows ? 0.0f : 1.0f / sqrtf(scales[i] < TINY ? 1.0f : scales[i]);
        for (long k = 0; k < lags; k++) z[k] = (cvec){z[k].re * load(scales), z[k].im * load(scales + LANES)};
        memset(z + lags, 0, (n - lags) * sizeof(cvec));
        transform(z, n, twiddle);
        for (long k = 0; k < n; k++)
            store(power + k * LANES, load(power + k * LANES) + z[k].re * z[k].re + z[k].im * z[k].im);
    }
}

/* The differences at `edges` (ascending) of the sums from the first bin on of each row of `power` [frames, bins], which are
 * double and run from left to right: `energy` [frames, count - 1]. Eight frames at a time, since one addition waits for the other. */
void band_sums(const float *restrict power, long frames, long bins, const int *restrict edges, long count,
               double *restrict energy) {
    for (long first = 0; first < frames; first += 8) {
        const long rows = frames - first < 8 ? frames - first : 8;
        double total[8] = {0}, before[8] = {0};
        for (long edge = 0, bin = 0; edge < count; edge++) {
            for (; bin < edges[edge]; bin++)
                for (long row = 0; row < 8; row++) total[row] += power[(first + (row < rows ? row : 0)) * bins + bin];
            for (long row = 0; row < rows && edge; row++)
                energy[(first + row) * (count - 1) + edge - 1] = total[row] - before[row];
            memcpy(before, total, sizeof before);
        }
    }
}

/* Floats in a vector. */
int lanes(void) { return LANES; }
