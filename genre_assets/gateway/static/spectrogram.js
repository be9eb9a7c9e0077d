// Waveform and mel spectrogram of decoded samples on a canvas; all in the browser, nothing is sent for it.
"use strict";

function drawWave(canvas, samples) {
  const { width, height } = canvas, pen = canvas.getContext("2d");
  pen.clearRect(0, 0, width, height);
  pen.fillStyle = getComputedStyle(document.querySelector("nav a")).color;
  for (let x = 0; x < width; x++) {
    const from = Math.floor((x * samples.length) / width), to = Math.floor(((x + 1) * samples.length) / width);
    let low = 0, high = 0;
    for (let i = from; i < to; i++) { low = Math.min(low, samples[i]); high = Math.max(high, samples[i]); }
    pen.fillRect(x, ((1 - high) * height) / 2, 1, Math.max(1, ((high - low) * height) / 2));
  }
}

const FFT = 1024, BANDS = 64, FLOOR_DB = -80;

function magnitudes(real) {  // power spectrum of FFT samples, in place, radix 2
  const imaginary = new Float32Array(FFT);
  for (let i = 1, j = 0; i < FFT; i++) {
    let bit = FFT >> 1;
    for (; j & bit; bit >>= 1) j ^= bit;
    j ^= bit;
    if (i < j) [real[i], real[j]] = [real[j], real[i]];
  }
  for (let size = 2; size <= FFT; size <<= 1) {
    const angle = (-2 * Math.PI) / size;
    for (let start = 0; start < FFT; start += size) {
      for (let k = 0; k < size / 2; k++) {
        const c = Math.cos(angle * k), s = Math.sin(angle * k), a = start + k, b = a + size / 2;
        const re = real[b] * c - imaginary[b] * s, im = real[b] * s + imaginary[b] * c;
        real[b] = real[a] - re; imaginary[b] = imaginary[a] - im;
        real[a] += re; imaginary[a] += im;
      }
    }
  }
  return real.subarray(0, FFT / 2).map((value, i) => value * value + imaginary[i] * imaginary[i]);
}

function melEdges(rate) {  // bins of the FFT at which the bands begin and end
  const mel = (hertz) => 2595 * Math.log10(1 + hertz / 700), top = mel(rate / 2);
  return Array.from({ length: BANDS + 1 }, (_, i) =>
    Math.min(FFT / 2 - 1, Math.round((700 * (10 ** ((top * i) / BANDS / 2595) - 1) * FFT) / rate)));
}

function drawMel(canvas, samples, rate) {
  const { width, height } = canvas, pen = canvas.getContext("2d"), columns = width / 3, edges = melEdges(rate);
  const powers = [];
  let most = 1e-12;
  for (let x = 0; x < columns; x++) {
    const start = Math.max(0, Math.floor((x * (samples.length - FFT)) / columns)), frame = new Float32Array(FFT);
    for (let i = 0; i < FFT; i++) frame[i] = (samples[start + i] || 0) * (0.5 - 0.5 * Math.cos((2 * Math.PI * i) / FFT));
    const spectrum = magnitudes(frame);
    powers.push(Array.from({ length: BANDS }, (_, band) => {
      let sum = 0;
      for (let i = edges[band]; i <= Math.max(edges[band], edges[band + 1] - 1); i++) sum += spectrum[i];
      most = Math.max(most, sum);
      return sum;
    }));
  }
  pen.clearRect(0, 0, width, height);
  powers.forEach((column, x) => column.forEach((power, band) => {
    const level = Math.max(0, 1 - (10 * Math.log10(Math.max(power, 1e-12) / most)) / FLOOR_DB);
    pen.fillStyle = `hsl(${265 - 215 * level} 80% ${8 + 60 * level}%)`;
    pen.fillRect(x * 3, height - ((band + 1) * height) / BANDS, 3, height / BANDS);
  }));
}
