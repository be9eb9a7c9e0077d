/* The inner loops of feature extraction. `median_group`, the running median, is generated before this text (see
 * kernel.py). Every function computes what a NumPy path computes as well; the same golden vectors check both.
 * Arrays are contiguous rows of float unless said otherwise. */

#include <math.h>
#include <string.h>

/* Constants come from kernel.py: LANES columns are filtered, and TILE frames turned, at a time; both stay in the
 * second-level cache. */

/* Row `i` of an array of `rows` rows that is mirrored at both ends, edge row included. */
static long mirrored(long i, long rows) {
    long turn = i % (2 * rows);
    if (turn < 0) turn += 2 * rows;
    return turn < rows ? turn : 2 * rows - 1 - turn;
}

/* Running median over rows: in and out are [rows, columns]. The columns are taken LANES at a time into `scratch`, of
 * (rows + 2 * INPUTS + OUTPUTS) * LANES floats: rows that lie 4 KiB apart would push each other out of the cache. */
void median_rows(const float *restrict in, float *restrict out, long rows, long columns, float *restrict scratch) {
    long groups = (rows + OUTPUTS - 1) / OUTPUTS, padded = groups * OUTPUTS + WINDOW - 1;
    float *medians = scratch + padded * LANES;
    memset(scratch, 0, padded * LANES * sizeof(float));
    for (long left = 0; left < columns; left += LANES) {
        long lanes = columns - left < LANES ? columns - left : LANES;
        for (long k = 0; k < padded; k++)
            memcpy(scratch + k * LANES, in + mirrored(k - WINDOW / 2, rows) * columns + left, lanes * sizeof(float));
        for (long first = 0; first < rows; first += OUTPUTS) {
            long count = rows - first < OUTPUTS ? rows - first : OUTPUTS;
            median_group(scratch + first * LANES, medians, LANES);
            for (long k = 0; k < count; k++)
                memcpy(out + (first + k) * columns + left, medians + k * LANES, lanes * sizeof(float));
        }
    }
}

/* harmonic, the median along time [frames, bins], becomes the mask h^2 / (h^2 + p^2), where p is the median along
 * frequency. `scratch` holds (bins + 2 * (INPUTS + OUTPUTS)) * TILE * 2 floats. */
void harmonic_mask(const float *restrict magnitude, float *restrict harmonic, long frames, long bins,
                   float *restrict scratch) {
    long groups = (bins + OUTPUTS - 1) / OUTPUTS, padded = groups * OUTPUTS + WINDOW - 1;
    float *turned = scratch, *percussive = scratch + padded * TILE;
    memset(turned, 0, padded * TILE * sizeof(float));
    for (long first = 0; first < frames; first += TILE) {
        long count = frames - first < TILE ? frames - first : TILE;
        for (long frame = 0; frame < count; frame++) {
            const float *row = magnitude + (first + frame) * bins;
            for (long k = 0; k < WINDOW / 2; k++) turned[k * TILE + frame] = row[mirrored(k - WINDOW / 2, bins)];
            for (long bin = 0; bin < bins; bin++) turned[(bin + WINDOW / 2) * TILE + frame] = row[bin];
            for (long k = bins + WINDOW / 2; k < padded; k++)
                turned[k * TILE + frame] = row[mirrored(k - WINDOW / 2, bins)];
        }
        for (long group = 0; group < groups; group++)
            median_group(turned + group * OUTPUTS * TILE, percussive + group * OUTPUTS * TILE, TILE);
        for (long frame = 0; frame < count; frame++) {
            float *mask = harmonic + (first + frame) * bins;
            for (long bin = 0; bin < bins; bin++) {
                float h = mask[bin] * mask[bin], p = percussive[bin * TILE + frame];
                float total = h + p * p;
                mask[bin] = total < TINY ? 0.5f : h / total;
            }
        }
    }
}

/* The first bin up to which ROLLOFF of the magnitude lies, summed one after the other, as numpy.cumsum does. */
static long exact_rolloff_bin(const float *restrict m, long bins, float *restrict cumulative) {
    float sum = 0;
    for (long bin = 0; bin < bins; bin++) cumulative[bin] = sum += m[bin];
    float limit = ROLLOFF * sum;
    long low = 0, high = bins - 1;
    while (low < high) {
        long middle = (low + high) / 2;
        if (cumulative[middle] >= limit) high = middle;
        else low = middle + 1;
    }
    return low;
}

/* The same from sums of blocks, several times faster; -1 where rounding could decide, so that ties fall alike. */
static long rolloff_bin(const float *restrict m, long bins) {
    float sums[MOST_BLOCKS], total = 0, before = 0;
    long blocks = (bins + BLOCK - 1) / BLOCK, block = 0;
    if (blocks > MOST_BLOCKS) return -1;
    for (long k = 0; k < blocks; k++) {
        long end = (k + 1) * BLOCK < bins ? (k + 1) * BLOCK : bins;
        float sum = 0;
#pragma omp simd reduction(+ : sum)
        for (long bin = k * BLOCK; bin < end; bin++) sum += m[bin];
        sums[k] = sum;
        total += sum;
    }
    float limit = ROLLOFF * total, margin = 2e-5f * total;
    while (block < blocks - 1 && before + sums[block] < limit) before += sums[block++];
    for (long bin = block * BLOCK; bin < bins; bin++) {
        float here = before + m[bin];
        if (here >= limit) return here - limit > margin && limit - before > margin ? bin : -1;
        before = here;
    }
    return -1;
}

/* What is read off a block of spectra (complex [frames, bins]): power and magnitude [frames, bins]; the moments of the
 * magnitude over frequency [frames, 3]; the bin below which ROLLOFF of the magnitude lies; and the mel energies
 * [frames, mels], from filters that are stored from their first bin on, one after the other. */
void read_frames(const float *restrict spectrum, long frames, long bins, float *restrict power,
                 float *restrict magnitude, float *restrict moments, long *restrict rolloff, float *restrict mel,
                 long mels, const float *restrict weights, const int *restrict start, const int *restrict length,
                 float *restrict cumulative) {
    const float scale = 1.0f / (float)(bins - 1);
    for (long frame = 0; frame < frames; frame++) {
        const float *x = spectrum + 2 * frame * bins;
        float *p = power + frame * bins, *m = magnitude + frame * bins;
        float zeroth = 0, first = 0, second = 0;
        for (long bin = 0; bin < bins; bin++) p[bin] = x[2 * bin] * x[2 * bin] + x[2 * bin + 1] * x[2 * bin + 1];
#pragma omp simd reduction(+ : zeroth, first, second)
        for (long bin = 0; bin < bins; bin++) {
            float f = (float)bin * scale, value = sqrtf(p[bin]);
            m[bin] = value;
            zeroth += value;
            first += value * f;
            second += value * f * f;
        }
        moments[3 * frame] = zeroth, moments[3 * frame + 1] = first, moments[3 * frame + 2] = second;
        const float *w = weights;
        for (long band = 0; band < mels; band++) {
            const float *from = p + start[band];
            float energy = 0;
#pragma omp simd reduction(+ : energy)
            for (int k = 0; k < length[band]; k++) energy += w[k] * from[k];
            mel[frame * mels + band] = energy;
            w += length[band];
        }
        long guess = rolloff_bin(m, bins);
        rolloff[frame] = guess >= 0 ? guess : exact_rolloff_bin(m, bins, cumulative);
    }
}

/* Multiply complex values by a real mask of `count` values, in place. */
void apply_mask(float *restrict spectrum, const float *restrict mask, long count) {
    for (long i = 0; i < count; i++) {
        spectrum[2 * i] *= mask[i];
        spectrum[2 * i + 1] *= mask[i];
    }
}

/* Add windowed pieces [frames, frame] into sound, each a hop after the one before. */
void overlap_add(const float *restrict pieces, const float *restrict window, float *restrict sound, long frames,
                 long frame, long hop) {
    for (long i = 0; i < frames; i++) {
        float *at = sound + i * hop;
        const float *piece = pieces + i * frame;
        for (long k = 0; k < frame; k++) at[k] += piece[k] * window[k];
    }
}
