from multiconv.spec import ConvSpec
