"""What a camera, a shutter, the weather or a file may have made of a clean picture, to train and to test on."""
