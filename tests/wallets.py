"""Wallets for tests: RSA keys as JSON Web Keys, as Arweave wallets are. They were made for these tests, and own nothing."""

from __future__ import annotations

SMALL_WALLET = {
    "kty": "RSA",
    "e": "AQAB",
    "n": (
        "mLG_5nPLAsK-qW2Q_rX8FsjJyuzhYPys01s2I_1nMctz7xMGFK482PcJ6G4_j18LD6ARorzLOC7IMc7vUlbP5t_bxPYL3SEqAKWD"
        "R4ieEB2w-qxEEkdSGLujksvIiezgGp_I1M_XoJLMgzJi_Ijnk4uYwo5BTn1viGYMfDFjjgPh8u4EUhIwUXtQp7L-OgwWiz41wUmH"
        "TxtZdFX4r3VhleFf-JWkQ5fbpp3OrC7yhgwT1cW6JK08Ugz1Yjgn8Cw-1ZRU6XabHkAlhFZIZQHauUvWbNVgmTKyLAHvs3QPdNtR"
        "yl6uh2qnD-mBSFjqkMv15-8DEdFPSycYEZr55W-wAQ"
    ),
    "d": (
        "FylXN4i28ZtCuoaBKPHH5FjeqyZVZZXOTV0XkEv-3EHFOy2CjZ6EYlDOsvAOOhwrnFomcq36kXIfMdb23GGItbedKXo9AHToXyK8"
        "EBy8BSvLzapVxQQGgvPrcvfwWmOQ9tjn6MgCKDw8Q2ZgN3g40Furd0-GvnYudd0s5aXEOSVHldsJa50aeVDNGB2DjN3WoQEsr4HY"
        "f3VhEmQeOFUa8cvBTRBsF_t-hHizhBRygPuwI10dMifEtcC2DhYyRdGxIoqN1ouzVA8Re8P4oaVlSVG0Vca8AvlBS5CvbcJC3BRu"
        "2c2oJqXcOrnarNcRWOdAQ3oI7QlpFdj6EFCxkLJGZQ"
    ),
    "p": (
        "zppcqu-G8NQ1EEm1oZqVi2mTJoi0CqabEWsGZHmlC776iq7gbmmoGBqmQTTbI1KP0XpOJfucHqk_kXu3RWwJhaaxLI1lUcW2Kvgg"
        "bgF4JxZ2Tg5BAD6K3oUjg4W7bg0_YSQ2gfIucBSgP0GlM0-Jt1dHYYGwwbcJRnLDpGfiLDs"
    ),
    "q": (
        "vTPHKeGxifQCb5_FLgCJsK6P5i4-ZM3YNem1VblzB2bPrf7AR5V_oIZmIbnEsNqwEai3Z0SSIvNrqqVr_aHueU_1-Pk3vMWw9ALP"
        "5BTW2zLJpOp88pTFVOEyjeb2fxgoKT7ngyCauj_25JSM4Ik4U1qYA9s2DYHvG2sCPWBn3PM"
    ),
    "dp": (
        "IVWKihHnhcfXX-9knNRiOIIqOddopSdIccEA4Qk3dfO0XNfmYiot8uWp2W97w_E4PyYqobo88D2Cgiih41ORHb1NbNDLfiwWPkyW"
        "fulBx5y6LdHi7vUoVsrIdhoHqbP9e-Dp4oF-uJq7WDlxPBwjLi-o1rSkHj04A-PUaRxRw60"
    ),
    "dq": (
        "tsahXT1RtJJMFCeFZbZRTaSlENmVnu4YM6Ttb73yeLECafUTLVQn8hxD58q9T5hDxRt26cUdY7RCS5z4oRHg_cKYPYgMJ0nXczKQ"
        "QKc9FI6Qq8d3IyVDKIdQvjLj582fZpEFN_C0aL7INPOo0HTfO-7lsbwAELZ4FcWfaUmLrK8"
    ),
    "qi": (
        "jcJ6P3O3Y3Z_aSZbtbVs5RmnF-kj6iQ3qZ6hu6_OEqYeINdMM58CymNr8wHGcwImCrk5uCrCXM7CE_2RkUa5EicGZumt4H90oK-N"
        "nSlERFQ1VAJZ8437vcDiix3aDkhcrqeAco-iFBzkScGkziNtUoTXvmXp0Xqh52VRwQ_Yed0"
    ),
}
"""A key of 2048 bits, the smallest that is taken."""

WALLET = {
    "kty": "RSA",
    "e": "AQAB",
    "n": (
        "upEI-xOeeXsbx3Ml4e5UeZ3Ff19LpSjKLQ7ZBwmHl90hu6jKCZ2coGLrpkGXy94NzLuTx5cDfDkepFYBosdf7cr6VXHEWMgCaqDn"
        "xhv0onxb6Kzo3mtkMzyiBkXztIF8qeb-qppV_LIjOsaFhstl73jO-2SdxkTQpdyeRfQemj5cilc_EOwjTPYH6emON6Drqamu5a-H"
        "x-sHUUeM_RrrmtwUO6RyCHjcJX0rhlbc3OUhJxjsMvKtvTlwKH9hnDdEoa0GaNuBTjpYWS3_h6aFkT1fmnq_QMKHS9IbNmWt2EdD"
        "o8FdFpbTX7IGkDVlYMpc1p6lZyXUQSEcwtdD1pofZdCT7JWabmggqDtRh76j3v0dVnLDcoy3z0JCF7t-x2oSJhcylyo62hvYNryl"
        "VrHQYR3UZgGl9p4SGqqUtL2Pp7yi9E5nsawnHnZFKX8UmYyozeKqd5uOKotTYbdPAobNo5Eg1ZJra4ZDacWfzYq1uXGTCajoShr5"
        "0KNTGmgv7fe1rW5qPXoTjeLybnRp6Xgmsr-8PeRa1J0vT8OBvQBFYIYgl7lS0WELHKIVCta8ZeTI86vVrvY9B_EfJswCCrVgNb9D"
        "husUWJ6Qp59IHXJ-Uq911fPladqC2-5Vid2JBGjZC_f8dV1qMVNc0fntn_ihhVblDrf2FelqSsWyr2HuoAM"
    ),
    "d": (
        "Krzwxrt-0StfeLgrFG-JUHbQ-FW3OXV3owzEsLUBJ8vTX27SIZPGfoNKokJiaKRMmvrZZp50gO-A0nqVU1nC4vFdmVc_eGsRCqYj"
        "kiFzUAmW8F0z10fYo1gfcbpykoYbLbyp2CEU05dnNJ6nlfJgPpR5LeOltPasqWI5q6K5o_HnNxW3b8P4bjfqJi6Hkry9X5dsZldo"
        "jmaLvZXbeVvCXy5NQEBykvhEzh23a8XYQI4IozE1YpJvNGrFA7HyhVuv0C2Xy0uFeospE_zSjZua-2OI1BWMXGRzo-3UqAhw45un"
        "pgq0rWkNsN1SXZStzZdt3whmsZNb5TOVqBiyBKY3zLGCSIVp8Q-m9_rAx8xteFbTi47p1IVrxi09m7ilqSIKtrLwvPsEtmVVParl"
        "LlnhcqXdzzvsBAuAUgmbX5R0SpVn9CEaa7QX_uYlKHA6FkzquIFBJ-hun-T3TZ1Bc0jBhpg7PucRpH12TX1KkXHZ8box3mERA2tT"
        "w4HCO7G_pUGgiCgCSyxESB0E3MM_BpkFoQR1Izhgby1VzHPqogbWmvWbN3lVzPKZnxa5fP3uB-gJjNZI5Bk_Ff5H_SVQMhSaI4FC"
        "jXEeLiRvno7PFJev-rRgtFDixamNIaRnlnH55cEY0ZpXUBzRkxNgV-DqBCvGBRUhBjLT9GDXCfpzfPyw8_E"
    ),
    "p": (
        "8BOm1X7w6f92SyeoghKhZBPVV0aLJ4N36tTVzRr4476uz8EbvnNJeZ-YG4ps36-JQDrQr-44IAACyR3-OBS3nGYK_P_QRR7JsWJ_"
        "MRxFbeMTd-5E3iCk9YqeZoIV-PNrLwWsIMCO3ga2HweyxRqoHJ-non20srqrkCASU1WD8KW6Hg3-tev9g_HHE_iqqOkUYuaKLq7O"
        "vq-gnrpy-bQj3due8LzsVYKIM9W5nIg9r6M90tk0zLv_AilAPg6FdCkZQs6mTO7jxFyQZSYEd9NjcIDT5H73O_Cw5cgObttqqHRJ"
        "r4NjvX3aaINsXMbCL5QrQH24ky06EMALst3vUisK2w"
    ),
    "q": (
        "xvDQfWAdr2AA4nU7YaaPOFraMheS-_SF1315e15Nf4ZjJY3BZ_cU3suxMk32Z3Akfc_KHc67Cga-nYWhVC93N1WGcz6RKiDaFA5t"
        "cJfs3va-w_2ShwXxbZ-ocwohkJ45yR6JL1xCoCzTyI9_dMXtINjXI3dQJ1gT1_uJeLQHwL5yNHBP6S75nDggmMSzMBdwUjEWq4gv"
        "_cFaxpl0ZD1YWJDeT0G0Z_8HDCwNsdtAVbnGJusCcD_KUAmJf0fi9VSksJmp1e3yuAkaX9dRdX_wp7eGL2ezQfLZWIFK6PxIWI4L"
        "8cyzXA_goRe3nK0Y7MXJnxKd_F538V24eYJzSnmD-Q"
    ),
    "dp": (
        "wSw-2JjMxqwMhgqCFy9gd0NSLWiQvZmWWvkok2G5lJ8wz_AlH8hp_ZgB718hnZcDzA_HLVh0BqObmjItBPj-iLS-8LXx4jwUtEt5"
        "5o1F_FZzqtOozEbeFMiWDgtsHKXYv7xDtRLboiEqV6t9GAYL8QQyAZg-VnXHaC-2LyGnCXKAYICIS994XLuloRc8Uq9A_RddZpS3"
        "vE1a431I2E0vcuutZy3MyD1A1NyK_j3NzM6AB3FIf9hhJ18D1yseDMqpDc1zmIG7-Zs1gH3nqHcKE1NFrBzRWISiAjJIEsEwgB0Z"
        "0UTac3WZ0PC2t6wiQeBqMPk4FAyXJTUx9JmJYMdLcw"
    ),
    "dq": (
        "cUlg8IRzYxMAbfTkQ89db3INHsld4ix0qynArAgfiac1foUixdlmARltZoAO-QhbP2m8Zwz6ZdNBaOJX5GDDOrdxQN84Ow1KInG0"
        "0JEzSiSorWMQteMkgJCSlDAIvRndPjItXNLk_eGJGITex9iOGE5i9MdU1ZLKegu7VQjwAUpyLnpmhxtA-TzdEyGwCIrQY32gsz1y"
        "VsZssvtf1FU6ofSdI_T-jtojYUMU6Vs5X5fSxwa89L7eroU_z0NYcuwofIiEtlYyCarlYf5zXL3mhRt1Rjl_Uua_7i5yQgqoCAWb"
        "t64h1SMVf6bJ4GaR8wMOtY8ceEIzezcrfcZTcO2RwQ"
    ),
    "qi": (
        "ic_7rGp5q2EzPCNVbZrG7pDPfoIIjyRaPIZtCYGufe5WvZF94qx5pRcs4hLTXm6LFzF2dzGmTGjPWLTdmMAazCf3DNJ2eINTq9yE"
        "TKMrlr2qMrhvGEGtRzXEm6m7gqfx6vevEhMh9mKzULlxfyKPFFB9z3iXysw-H8t_fdL9hD7z9HDPac1tbXJvrRVKQs1JwB7-Ot1B"
        "zsMBCLRZhBH4zddDzuzSpa3EuJcpOC2RU-U_3jHBWGd0y9XXDIbkW4pJD9__mGkF_673MTb3A6iiU-YUnoD4eOMI9qh9-sFXE2iw"
        "Z-zr4L2Fkzb-kG8UzInvn6oCnospHHgbDdOsTVCQCg"
    ),
}
"""A key of 4096 bits, as wallets have."""
