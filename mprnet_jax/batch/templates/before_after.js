const zoom = document.querySelector('.zoom'), view = zoom.querySelector('.view'), both = zoom.querySelector('.both');
const [after, before] = both.querySelectorAll('img'), range = zoom.querySelector('input');
const line = zoom.querySelector('.line'), scales = [...zoom.querySelectorAll('[data-scale]')];
let scale = 0;

// Cuts `before` off, and draws the line, where the range stands.
const cut = () => {
  const x = range.value / 100 * view.clientWidth, left = both.offsetLeft - view.scrollLeft;
  line.style.left = x + 'px';
  before.style.clipPath = `inset(0 ${Math.max(0, both.offsetWidth - Math.max(0, x - left))}px 0 0)`;
};

const size = wanted => {
  const width = after.naturalWidth, height = after.naturalHeight;
  if (!width) return;
  const fit = Math.min(view.clientWidth / width, view.clientHeight / height), old = both.offsetWidth || 1;
  const middle = [(view.scrollLeft + view.clientWidth / 2) / old, (view.scrollTop + view.clientHeight / 2) / old];
  scale = wanted;
  both.style.width = Math.floor(width * (wanted || fit)) + 'px';
  both.style.height = Math.floor(height * (wanted || fit)) + 'px';
  const now = both.offsetWidth;
  view.scrollTo(middle[0] * now - view.clientWidth / 2, middle[1] * now - view.clientHeight / 2);
  zoom.classList.toggle('big', (wanted || fit) >= 2);
  for (const button of scales) button.setAttribute('aria-pressed', Number(button.dataset.scale) === wanted);
  cut();
};
for (const button of scales) button.onclick = () => size(Number(button.dataset.scale));

for (const button of document.querySelectorAll('.pair button')) button.onclick = () => {
  zoom.querySelector('b').textContent = button.dataset.name;
  after.onload = () => size(0);
  before.src = button.dataset.before;
  after.src = button.dataset.after;
  zoom.showModal();
};
zoom.onclose = () => { before.removeAttribute('src'); after.removeAttribute('src'); };
zoom.querySelector('.close').onclick = () => zoom.close();
range.oninput = cut;
view.onscroll = cut;
window.addEventListener('resize', () => zoom.open && size(scale));

// Dragging with a mouse; fingers scroll by themselves.
let held = null;
view.onpointerdown = e => { if (e.pointerType === 'mouse') held = [e.clientX, e.clientY]; };
view.onpointermove = e => {
  if (!held) return;
  view.scrollBy(held[0] - e.clientX, held[1] - e.clientY);
  held = [e.clientX, e.clientY];
};
window.addEventListener('pointerup', () => held = null);
