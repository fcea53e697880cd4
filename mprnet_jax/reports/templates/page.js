document.documentElement.classList.add('js');

for (const slider of document.querySelectorAll('.slider'))
  slider.querySelector('input').oninput = e => slider.style.setProperty('--x', e.target.value + '%');

// Which two of the small pictures a slider shows.
for (const box of document.querySelectorAll('.views')) {
  const shown = box.querySelector('.slider'), [under, over] = shown.querySelectorAll('img');
  const sources = Object.fromEntries([...box.querySelectorAll('.strip img')].map(i => [i.alt, i.src]));
  const show = button => {
    const {left, right} = button.dataset;
    over.src = sources[left];
    under.src = sources[right];
    over.alt = left;
    under.alt = right;
    shown.querySelector('.l').textContent = left;
    shown.querySelector('.r').textContent = right;
    for (const other of box.querySelectorAll('.pick button')) other.setAttribute('aria-pressed', other === button);
  };
  for (const button of box.querySelectorAll('.pick button')) button.onclick = () => show(button);
  show(box.querySelector('.pick button'));
}

// The first column sorts by its text, the others by their number.
for (const button of document.querySelectorAll('th button')) button.onclick = () => {
  const head = button.parentElement, body = head.closest('table').tBodies[0], column = head.cellIndex;
  const down = head.getAttribute('aria-sort') !== 'descending';
  const value = row => {
    const cell = row.cells[column].dataset.value;
    return column ? Number(cell) : cell;
  };
  const order = (a, b) => {
    const x = value(a), y = value(b);
    return (x < y ? -1 : x > y ? 1 : 0) * (down ? -1 : 1);
  };
  for (const other of head.parentElement.cells) other.removeAttribute('aria-sort');
  head.setAttribute('aria-sort', down ? 'descending' : 'ascending');
  body.append(...[...body.rows].sort(order));
};
