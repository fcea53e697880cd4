"""The receptive field of the network where its means are local."""

from mprnet_jax.model import MPRNetConfig


def receptive_field_radius(config: MPRNetConfig, window: int, stages: int) -> int:
    """Upper bound on the receptive field's radius in pixels, in every direction, with local means of `window` pixels.

    The longest way through the network is followed, convolution by convolution and mean by mean. A window reaches half
    its side to each side; at a border it is moved inwards, which adds one more half window to the whole way.
    """
    conv = config.kernel_size // 2

    def cabs(count: int, level: int, share: int) -> int:
        """`count` CABs at a level of a U-Net, where a piece is 1/share of the image."""
        return count * ((2 * conv << level) + (window // share + 1) // 2 + (1 << level))

    def u_net(encoder_share: int, decoder_share: int) -> int:
        down = sum(cabs(2, level, encoder_share) for level in range(3))
        # The deepest way; level 3 has no skip connection to pass. Interpolation sees one pixel farther at each level.
        up = sum(cabs(2, level, decoder_share) for level in range(3)) + 2 + 4
        return down + up + 4  # halvings: blocks of 4 pixels

    shallow = lambda share: conv + cabs(1, 0, share)
    # Shares are those along rows; columns are cut less (stage 2 not at all), so theirs are taken.
    reach = shallow(2) + u_net(2, 1)
    if stages > 1:
        reach += conv + u_net(1, 1)  # concat12; the way through stage 1 is longer than that through shallow2
    if stages > 2:
        reach += conv + 3 * (cabs(config.num_cab, 0, 1) + conv) + conv  # concat23, three ORBs, tail
        reach += 2 + 4
    return reach + (window + 1) // 2
