"""Speech encoders of every family with random weights, small enough to run in milliseconds, saved as transformers saves them."""

from pathlib import Path

import numpy as np

from spoofscope.audio import Audio

SIZE = {"hidden_size": 32, "num_hidden_layers": 3, "num_attention_heads": 4, "intermediate_size": 48}
CONVOLUTIONS = {"conv_dim": (16,) * 7, "num_conv_pos_embeddings": 16, "num_conv_pos_embedding_groups": 4}
BY_FRAME = {"feat_extract_norm": "layer"}
PRE_NORM = {**BY_FRAME, "do_stable_layer_norm": True}
WHISPER = {
    **{"d_model": 32, "encoder_layers": 3, "encoder_attention_heads": 4, "encoder_ffn_dim": 48},
    **{"decoder_layers": 1, "decoder_attention_heads": 4, "decoder_ffn_dim": 32, "vocab_size": 60},
    **dict.fromkeys(("pad_token_id", "bos_token_id", "eos_token_id", "decoder_start_token_id"), 1),
}

# Name: family of transformers, what differs from its defaults, whether recordings of different length may share a padded batch.
MODELS = {
    "wav2vec2 base": ("Wav2Vec2", {}, False),
    "wav2vec2 base by frame": ("Wav2Vec2", BY_FRAME, True),
    "wav2vec2 large": ("Wav2Vec2", PRE_NORM, True),
    "wav2vec2 with an adapter": ("Wav2Vec2", {**PRE_NORM, "add_adapter": True}, True),
    "hubert base": ("Hubert", {}, False),
    "hubert large": ("Hubert", PRE_NORM, True),
    "hubert with batch norm": ("Hubert", {**PRE_NORM, "conv_pos_batch_norm": True}, False),
    "wavlm base": ("WavLM", {}, False),
    "wavlm large": ("WavLM", PRE_NORM, True),
    "unispeech": ("UniSpeech", PRE_NORM, True),
    "unispeech-sat": ("UniSpeechSat", PRE_NORM, True),
    "data2vec": ("Data2VecAudio", {"num_conv_pos_embeddings": 5}, False),
    "conformer": ("Wav2Vec2Conformer", {**BY_FRAME, "position_embeddings_type": "relative"}, False),
    "w2v-bert": ("Wav2Vec2Bert", {}, True),
    "whisper": ("Whisper", {}, False),
}
WITH_FINAL_NORM = {name for name, (_, options, _) in MODELS.items() if "do_stable_layer_norm" in options} | {
    "conformer",
    "whisper",
}


def build(name: str, seed: int = 1):
    """Return a random model whose every parameter is off its initial value, so that none goes unseen."""
    import torch
    import transformers

    family, options, _ = MODELS[name]
    sizes = {"Whisper": WHISPER, "Wav2Vec2Bert": SIZE}.get(family, SIZE | CONVOLUTIONS)
    config = getattr(transformers, f"{family}Config")(**sizes | options)
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        model = getattr(transformers, f"{family}Model")(config)
        with torch.no_grad():
            for parameter in model.parameters():
                parameter.add_(0.02 * torch.randn_like(parameter))
    return model.eval()


def feature_extractor(name: str, *, normalise: bool = False):
    import transformers

    family, _, _ = MODELS[name]
    if family == "Wav2Vec2Bert":
        return transformers.SeamlessM4TFeatureExtractor()
    if family == "Whisper":
        return transformers.WhisperFeatureExtractor()
    return transformers.Wav2Vec2FeatureExtractor(do_normalize=normalise)


def save(name: str, folder: Path, *, normalise: bool = False, seed: int = 1) -> Path:
    """Save a model and its feature extractor, without the progress bars of transformers."""
    from transformers.utils import logging

    logging.disable_progress_bar()
    build(name, seed).save_pretrained(folder)
    feature_extractor(name, normalise=normalise).save_pretrained(folder)
    logging.enable_progress_bar()
    return folder


def noises(*lengths: int, seed: int = 0) -> list[Audio]:
    rng = np.random.default_rng(seed)
    return [(rng.uniform(0.02, 0.2) * rng.standard_normal(length) + 0.01).astype(np.float32) for length in lengths]
